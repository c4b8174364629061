use super::*;
use crate::model::{Month, Window, settled_at};
use proptest::prelude::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn month(stream: &str, grain: Grain, slice: Slice, zone: Tz, month: &str) -> Question {
    let month: Month = month.parse().unwrap();
    let window = Window { month, start: month.first_day(), end: month.last_day() };
    Question { stream: stream.parse().unwrap(), grain, slice, zone, window }
}

fn figures(question: &Question, now: DateTime<Utc>) -> Figures {
    World::new(2, Future::Zeros).figures(question.stream.as_str(), &Ask::from(question), now)
}

fn slices() -> impl Strategy<Value = Slice> {
    let kinds = prop::sample::select(ConversationType::ALL.to_vec());
    let states = prop::sample::select(ConversationStatus::ALL.to_vec());
    let channels = prop::sample::select(vec![Channel::All, Channel::Named("rtm".into())]);
    (kinds, states, channels).prop_map(|(conversation_type, conversation_status, channel)| Slice {
        conversation_type,
        conversation_status,
        channel,
    })
}

fn no_more_than(a: Users, b: Users) -> bool {
    a.unique <= b.unique && a.new <= b.new && a.returning <= b.returning
}

proptest! {
    /// The relations of unique users, for any stream, slice and moment.
    #[test]
    fn uniques_relate(app in 0u32..1000, slice in slices(), hours in 0i64..1200) {
        let question = month(&format!("st-{app}"), Grain::Hourly, slice, chrono_tz::Europe::Berlin, "2026-03");
        let now = at("2026-03-01T00:00:00Z") + chrono::TimeDelta::hours(hours);
        let all = figures(&Question { slice: Slice::ALL, ..question.clone() }, now);
        let own = figures(&question, now);
        prop_assert!(no_more_than(own.total, all.total));
        for (day, day_of_all) in own.days.iter().zip(&all.days) {
            prop_assert!(no_more_than(day.users, day_of_all.users));
            prop_assert!(no_more_than(day.users, own.total));
            prop_assert!(day.users.unique <= day.users.new + day.users.returning);
            prop_assert!(day.users.new <= day.users.unique && day.users.returning <= day.users.unique);
            prop_assert_eq!(day.hours.iter().map(|h| h.new).sum::<u64>(), day.users.new);
            prop_assert!(day.hours.iter().map(|h| h.unique).sum::<u64>() >= day.users.unique);
            for (hour, hour_of_all) in day.hours.iter().zip(&day_of_all.hours) {
                prop_assert!(no_more_than(*hour, *hour_of_all));
                prop_assert!(no_more_than(*hour, day.users));
            }
        }
    }

    /// A range over months: no part of it has more users than the whole, which has no more than its days, or
    /// its parts, together.
    #[test]
    fn uniques_of_ranges_relate(app in 0u32..1000, slice in slices(), start in 0u64..900, length in 1u64..120, cut in 0u64..120, part in 1u64..120) {
        let first = at("2024-01-01T00:00:00Z").date_naive() + Days::new(start);
        let question = month(&format!("st-{app}"), Grain::Daily, slice, chrono_tz::Europe::Berlin, "2026-03");
        let of = |start: NaiveDate, end: NaiveDate| {
            let window = Window { month: Month::of(end), start, end };
            figures(&Question { window, ..question.clone() }, at("2027-03-01T00:00:00Z"))
        };
        let last = first + Days::new(length);
        let whole = of(first, last);
        prop_assert_eq!(whole.days.len() as u64, length + 1);
        let start = first + Days::new(cut.min(length));
        let end = (start + Days::new(part)).min(last);
        prop_assert!(no_more_than(of(start, end).total, whole.total));
        let sum = whole.days.iter().map(|day| day.users.unique).sum::<u64>();
        prop_assert!(whole.total.unique <= sum);
        let middle = first + Days::new(length / 2);
        let halves = of(first, middle).total.unique + of(middle + Days::new(1), last).total.unique;
        prop_assert!(whole.total.unique <= halves);
        // A range of one day is that day.
        prop_assert_eq!(of(first, first).total.unique, whole.days[0].users.unique);
    }

    /// As time goes on no figure shrinks, and none changes after the day is settled.
    #[test]
    fn figures_grow_and_settle(app in 0u32..1000, slice in slices(), hours in 0i64..1000, more in 0i64..100) {
        let zone = chrono_tz::Asia::Kolkata;
        let question = month(&format!("st-{app}"), Grain::Hourly, slice, zone, "2026-03");
        let early = at("2026-03-01T00:00:00Z") + chrono::TimeDelta::hours(hours);
        let late = early + chrono::TimeDelta::hours(more);
        let (before, after) = (figures(&question, early), figures(&question, late));
        prop_assert!(no_more_than(before.total, after.total));
        for (before, after) in before.days.iter().zip(&after.days) {
            prop_assert!(no_more_than(before.users, after.users));
            for (before, after) in before.hours.iter().zip(&after.hours) {
                prop_assert!(no_more_than(*before, *after));
            }
            if settled_at(before.date, zone, 2) <= early {
                prop_assert_eq!((before.users, before.hours), (after.users, after.hours));
            }
        }
    }
}

#[test]
fn a_month_is_believable() {
    let question = month("st-demo", Grain::Daily, Slice::ALL, chrono_tz::Tz::UTC, "2026-03");
    let settled = figures(&question, at("2026-06-01T00:00:00Z"));
    let sum: u64 = settled.days.iter().map(|day| day.users.unique).sum();
    assert!(settled.total.unique < sum * 2 / 3, "{} of {sum}", settled.total.unique);
    for day in &settled.days {
        assert!(day.users.unique >= 5, "{day:?}");
        let visits: u64 = day.hours.iter().map(|hour| hour.unique).sum();
        assert!(visits > day.users.unique, "{day:?}");
        let (night, noon): (u64, u64) = (day.hours[..6].iter().map(|h| h.unique).sum(), day.hours[9].unique);
        assert!(night <= day.users.unique && noon <= day.users.unique);
    }
    let on = |d: usize| settled.days[d].users.unique;
    assert!(on(0) < on(2), "a Sunday is quieter than a Tuesday");
}

#[test]
fn recent_days_are_restated() {
    let question = month("st-demo", Grain::Daily, Slice::ALL, chrono_tz::Tz::UTC, "2026-03");
    let last_day = |now| figures(&question, at(now)).days[30].users;
    let by_day =
        ["2026-03-31T23:00:00Z", "2026-04-01T12:00:00Z", "2026-04-02T12:00:00Z", "2026-04-03T00:00:00Z"]
            .map(last_day);
    assert!(by_day[0].unique < by_day[3].unique, "{by_day:?}");
    assert_eq!(by_day[3], last_day("2027-01-01T00:00:00Z"));
    assert_eq!(last_day("2026-04-01T00:00:00Z"), last_day("2026-04-01T23:59:59Z"));
}

#[test]
fn today_shows_the_hours_that_have_begun() {
    let question = month("st-demo", Grain::Hourly, Slice::ALL, chrono_tz::Asia::Kolkata, "2026-03");
    // 14:30 in Kolkata on the 10th.
    let now = at("2026-03-10T09:00:00Z");
    let (_, Points::Hourly(zeros)) = World::new(2, Future::Zeros).answer(&question, now) else { panic!() };
    let (_, Points::Hourly(absent)) = World::new(2, Future::Absent).answer(&question, now) else { panic!() };
    assert_eq!((zeros.len(), absent.len()), (31 * 24, 9 * 24 + 15));
    assert_eq!(zeros[..absent.len()], absent);
    assert!(zeros[absent.len()..].iter().all(|point| point.counts.unique == Some(0)));
    assert_ne!(absent.last().unwrap().counts.unique, Some(0));
    let (summary, _) = World::new(2, Future::Absent).answer(&question, now);
    let per_day = summary.averages.unique.unwrap() * 10.0;
    let total = f64::from(i32::try_from(summary.counts.unique.unwrap()).unwrap());
    assert!((per_day - total).abs() < 0.1, "the days that are absent do not count");
}

#[test]
fn a_skipped_hour_has_zeros() {
    let zone = chrono_tz::America::New_York;
    let question = month("st-large", Grain::Hourly, Slice::ALL, zone, "2026-03");
    let settled = figures(&question, at("2026-06-01T00:00:00Z"));
    assert!(settled.days.iter().all(|day| day.hours_shown == 24));
    assert_eq!(settled.days[7].hours[2], Users::default());
    assert_eq!(settled.days[7].hours.len(), 24);
    // Apia had no 30 December 2011 at all.
    let apia = month("st-large", Grain::Hourly, Slice::ALL, chrono_tz::Pacific::Apia, "2011-12");
    let settled = figures(&apia, at("2026-06-01T00:00:00Z"));
    assert_eq!(settled.days[29].users, Users::default());
    assert_ne!(settled.days[30].users, Users::default());
}

#[test]
fn one_day_is_its_own_range() {
    let day: NaiveDate = "2026-03-03".parse().unwrap();
    let mut question = month("st-demo", Grain::Daily, Slice::DASHBOARD, chrono_tz::Tz::UTC, "2026-03");
    question.window = Window { month: Month::of(day), start: day, end: day };
    let (summary, Points::Daily(points)) =
        World::new(0, Future::Zeros).answer(&question, at("2026-03-04T00:00:00Z"))
    else {
        panic!()
    };
    assert_eq!(points, [DayPoint { date: day, counts: summary.counts }]);
}
