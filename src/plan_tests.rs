use super::*;

use chrono::Days;

fn stream() -> Stream {
    Stream::example()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn partition(dataset: Dataset, month: &str) -> Partition {
    Partition { dataset, stream: "st-1".parse().unwrap(), month: month.parse().unwrap() }
}

fn known(fetched_at: &str) -> Presence {
    Presence::Known {
        fetched_at: at(fetched_at),
        fingerprint: stream().fingerprint(UnitKind::Daily),
        start: "2026-01-15".parse().unwrap(),
        is_final: true,
        old_format: false,
        settle_days: 3,
    }
}

fn states(inventory: &Inventory, scope: &Scope, now: &str) -> Vec<(String, UnitKind, State)> {
    let units = survey(&stream(), inventory, scope, at(now));
    units.into_iter().map(|p| (p.unit.month.to_string(), p.unit.kind, p.state)).collect()
}

#[test]
fn an_empty_lake_misses_everything_newest_first() {
    let units = survey(&stream(), &Inventory::new(), &Scope::default(), at("2026-03-10T12:00:00Z"));
    let windows: Vec<_> =
        units.iter().map(|p| (p.window.start.to_string(), p.window.end.to_string())).collect();
    assert_eq!(windows[0], ("2026-03-01".into(), "2026-03-10".into()));
    assert_eq!(windows[5], ("2026-01-15".into(), "2026-01-31".into()));
    assert!(units.iter().all(|p| p.state == State::Missing));
    assert_eq!(requests(&units), 3 * 2 * 2);
}

#[test]
fn a_month_is_final_once_fetched_after_it_settled() {
    // January has settled when February 4 begins.
    for (fetched_at, expected) in
        [("2026-02-03T23:59:59Z", State::Provisional), ("2026-02-04T00:00:00Z", State::Final)]
    {
        let inventory = Inventory::from([(partition(Dataset::Hourly, "2026-01"), known(fetched_at))]);
        let found = states(&inventory, &Scope::default(), "2026-03-10T00:00:00Z");
        assert!(found.contains(&("2026-01".into(), UnitKind::Hourly, expected)), "{found:?}");
    }
}

#[test]
fn a_unit_is_as_good_as_its_worst_partition() {
    let good = known("2026-02-20T00:00:00Z");
    let mut inventory = Inventory::from([(partition(Dataset::Daily, "2026-01"), good.clone())]);
    let january = |inventory: &Inventory| {
        let found = states(inventory, &Scope::default(), "2026-03-10T00:00:00Z");
        found.into_iter().find(|(m, g, _)| m == "2026-01" && *g == UnitKind::Daily).unwrap().2
    };
    assert_eq!(january(&inventory), State::Missing);
    inventory.insert(partition(Dataset::Summary, "2026-01"), good);
    assert_eq!(january(&inventory), State::Final);
    inventory.insert(partition(Dataset::Summary, "2026-01"), Presence::Damaged);
    assert_eq!(january(&inventory), State::Damaged);
}

#[test]
fn what_was_asked_differently_is_stale() {
    let Presence::Known { fetched_at, fingerprint, start, .. } = known("2026-02-20T00:00:00Z") else {
        panic!()
    };
    let cases = [
        (
            Presence::Known {
                fetched_at,
                fingerprint: "other".into(),
                start,
                is_final: true,
                old_format: false,
                settle_days: 3,
            },
            State::Stale,
        ),
        (
            Presence::Known {
                fetched_at,
                fingerprint: fingerprint.clone(),
                start,
                is_final: true,
                old_format: true,
                settle_days: 3,
            },
            State::Stale,
        ),
        (
            Presence::Known {
                fetched_at,
                fingerprint: fingerprint.clone(),
                start: start + Days::new(1),
                is_final: true,
                old_format: false,
                settle_days: 3,
            },
            State::Stale,
        ),
        // One that reaches further back is not cut.
        (
            Presence::Known {
                fetched_at,
                fingerprint,
                start: start - Days::new(1),
                is_final: true,
                old_format: false,
                settle_days: 3,
            },
            State::Final,
        ),
    ];
    for (presence, expected) in cases {
        let inventory = Inventory::from([(partition(Dataset::Hourly, "2026-01"), presence)]);
        let found = states(&inventory, &Scope::default(), "2026-03-10T00:00:00Z");
        assert!(found.contains(&("2026-01".into(), UnitKind::Hourly, expected)), "{found:?}");
    }
}

#[test]
fn scopes_widen_narrow_and_force() {
    let scope = Scope {
        from: Some("2025-12".parse().unwrap()),
        to: Some("2026-01".parse().unwrap()),
        force: true,
        ..Scope::default()
    };
    let units = survey(&stream(), &Inventory::new(), &scope, at("2026-03-10T00:00:00Z"));
    let starts: Vec<_> = units.iter().map(|p| p.window.start.to_string()).collect();
    assert_eq!(starts, ["2026-01-01", "2026-01-01", "2025-12-01", "2025-12-01"]);
    assert!(units.iter().all(|p| p.state == State::Forced));
    let narrow = Scope { from: Some("2026-02".parse().unwrap()), ..Scope::default() };
    assert_eq!(survey(&stream(), &Inventory::new(), &narrow, at("2026-03-10T00:00:00Z")).len(), 4);
}

#[test]
fn the_future_holds_no_units() {
    assert!(survey(&stream(), &Inventory::new(), &Scope::default(), at("2026-01-14T23:59:59Z")).is_empty());
}

#[test]
fn footers_are_read_only_where_the_listing_cannot_decide() {
    let january = partition(Dataset::Hourly, "2026-01");
    let needs =
        |written_at, verified, now| needs_footer(&stream(), &january, at(written_at), verified, at(now));
    assert!(!needs("2026-01-20T00:00:00Z", false, "2026-02-03T00:00:00Z"), "provisional anyway");
    assert!(needs("2026-02-20T00:00:00Z", true, "2026-02-25T00:00:00Z"), "settled lately");
    assert!(!needs("2026-02-20T00:00:00Z", true, "2026-06-01T00:00:00Z"), "written long after");
    assert!(needs("2026-02-04T05:00:00Z", true, "2026-06-01T00:00:00Z"), "written while it settled");
    assert!(needs("2026-02-20T00:00:00Z", false, "2026-06-01T00:00:00Z"), "settings are new");
}

#[test]
fn the_listing_alone_decides_long_settled_months() {
    for (written_at, expected) in
        [("2026-01-20T00:00:00Z", State::Provisional), ("2026-02-20T00:00:00Z", State::Final)]
    {
        let presence = Presence::Listed { written_at: at(written_at) };
        let inventory = Inventory::from([(partition(Dataset::Hourly, "2026-01"), presence)]);
        let found = states(&inventory, &Scope::default(), "2026-06-10T00:00:00Z");
        assert!(found.contains(&("2026-01".into(), UnitKind::Hourly, expected)), "{found:?}");
    }
}

#[test]
fn the_least_time_of_both_windows() {
    let limit = |requests, secs| RateLimit { requests, per: Duration::from_secs(secs) };
    let vendor = [limit(60, 60), limit(1800, 3600)];
    let minutes = |n| least_time(n, &vendor).as_secs() / 60;
    assert_eq!(
        [minutes(0), minutes(60), minutes(61), minutes(1800), minutes(1801), minutes(1861)],
        [0, 0, 1, 29, 60, 61]
    );
    assert_eq!(least_time(1000, &[]), Duration::ZERO);
}

#[test]
fn today_is_that_of_the_streams_zone() {
    // It is March in UTC and still February in New York; in Auckland it has been March for long.
    let now = at("2026-03-01T03:00:00Z");
    let last = |zone| {
        let stream = Stream { zone, ..Stream::example() };
        stream_windows(&stream, &Scope::default(), now).next().unwrap().end.to_string()
    };
    assert_eq!(last(chrono_tz::America::New_York), "2026-02-28");
    assert_eq!(last(chrono_tz::UTC), "2026-03-01");
    assert_eq!(last(chrono_tz::Pacific::Auckland), "2026-03-01");
}

/// The example with weeks, quarters and rolling periods, one slice.
fn with_periods() -> Stream {
    Stream {
        periods: vec![Period::Quarter, Period::Rolling7d, Period::Week],
        slices: vec![crate::model::Slice::ALL],
        ..Stream::example()
    }
}

fn periods(stream: &Stream, inventory: &Inventory, scope: &Scope, now: &str) -> Vec<Planned> {
    let units = survey(stream, inventory, scope, at(now));
    units.into_iter().filter(|p| p.unit.kind == UnitKind::Periods).collect()
}

fn known_periods(stream: &Stream, start: &str, fetched_at: &str) -> Presence {
    Presence::Known {
        fetched_at: at(fetched_at),
        fingerprint: stream.fingerprint(UnitKind::Periods),
        start: start.parse().unwrap(),
        settle_days: 3,
        is_final: true,
        old_format: false,
    }
}

#[test]
fn periods_are_planned_after_all_else_by_the_month_of_their_last_day() {
    // From Thursday, 2026-01-15, up to Tuesday, 2026-03-31.
    let stream = with_periods();
    let units = survey(&stream, &Inventory::new(), &Scope::default(), at("2026-03-31T12:00:00Z"));
    let kinds: Vec<_> = units.iter().map(|p| p.unit.kind).collect();
    assert!(kinds.is_sorted_by_key(|kind| *kind == UnitKind::Periods), "{kinds:?}");
    let found: Vec<_> = units
        .iter()
        .filter(|p| p.unit.kind == UnitKind::Periods)
        .map(|p| {
            (p.unit.month.to_string(), p.window.start.to_string(), p.window.end.to_string(), p.questions)
        })
        .collect();
    let text = |m: &str, s: &str, e: &str, n| (m.to_owned(), s.to_owned(), e.to_owned(), n);
    assert_eq!(
        found,
        [
            // The week under way ends in April.
            text("2026-04", "2026-03-26", "2026-03-31", 1),
            // 31 rolling periods and 5 weeks. The quarter would have begun before the first date.
            text("2026-03", "2026-02-23", "2026-03-31", 31 + 5),
            text("2026-02", "2026-01-26", "2026-02-28", 28 + 4),
            // Rolling periods from the 21st on, and the week from Monday, the 19th.
            text("2026-01", "2026-01-15", "2026-01-31", 11 + 1),
        ]
    );
    assert_eq!(requests(&units), (31 + 5) + (28 + 4) + (11 + 1) + 1 + 3 * 2);
    // A day later a quarter begins, which ends in June.
    let later = periods(&stream, &Inventory::new(), &Scope::default(), "2026-04-01T12:00:00Z");
    assert_eq!((later[0].unit.month.to_string().as_str(), later[0].questions), ("2026-06", 1));
    assert!(
        later.iter().all(|p| p.unit.month.to_string() != "2026-05"),
        "nothing that ends in May has begun"
    );
}

#[test]
fn settled_periods_are_not_asked_for_again() {
    let stream = with_periods();
    let place = partition(Dataset::Periods, "2026-03");
    let march = |presence: &Presence, now: &str| {
        let inventory = Inventory::from([(place.clone(), presence.clone())]);
        let units = periods(&stream, &inventory, &Scope::default(), now);
        let unit = units.into_iter().find(|p| p.unit.month.to_string() == "2026-03").unwrap();
        (unit.state, unit.questions)
    };
    // On March 20 at noon, periods up to the 16th have settled; the last week of these ends on the 15th.
    let there = known_periods(&stream, "2026-02-23", "2026-03-20T12:00:00Z");
    assert_eq!(march(&there, "2026-03-20T13:00:00Z"), (State::Provisional, 4 + 1), "again on the same day");
    assert_eq!(march(&there, "2026-03-21T12:00:00Z"), (State::Provisional, 5 + 1), "on the day after");
    assert_eq!(march(&there, "2026-04-20T12:00:00Z"), (State::Provisional, 15 + 2), "when all has settled");
    let whole = known_periods(&stream, "2026-02-23", "2026-04-04T00:00:00Z");
    assert_eq!(march(&whole, "2026-04-20T12:00:00Z").0, State::Final);
    // Judged by another setting, or asked otherwise, nothing is taken over.
    let Presence::Known { fetched_at, fingerprint, start, .. } = there.clone() else { panic!() };
    let other = |fingerprint, settle_days| Presence::Known {
        fetched_at,
        fingerprint,
        start,
        settle_days,
        is_final: false,
        old_format: false,
    };
    assert_eq!(march(&other(fingerprint.clone(), 2), "2026-03-20T13:00:00Z"), (State::Provisional, 20 + 4));
    assert_eq!(march(&other("other".into(), 3), "2026-03-20T13:00:00Z"), (State::Stale, 20 + 4));
    // What was asked as now is taken over though other periods are asked for besides.
    let fewer = Stream { periods: vec![Period::Rolling7d], ..stream.clone() };
    let fewer = other(fewer.fingerprint(UnitKind::Periods), 3);
    assert_eq!(march(&fewer, "2026-03-20T13:00:00Z"), (State::Stale, 4 + 4));
    let sunday = Stream { week_start: chrono::Weekday::Sun, ..stream.clone() };
    let sunday = other(sunday.fingerprint(UnitKind::Periods), 3);
    assert_eq!(march(&sunday, "2026-03-20T13:00:00Z"), (State::Stale, 4 + 4), "weeks are cut otherwise");
    // Who forces has everything asked.
    let scope = Scope { force: true, ..Scope::default() };
    let inventory = Inventory::from([(place.clone(), there)]);
    let forced = periods(&stream, &inventory, &scope, "2026-03-20T13:00:00Z");
    assert!(forced.iter().any(|p| p.questions == 20 + 4 && p.state == State::Forced), "{forced:?}");
}

#[test]
fn other_summaries_leave_days_and_hours_as_they_are() {
    let plain = Stream::example();
    let stream = with_periods();
    let same = Stream { periods: stream.periods.clone(), ..plain.clone() };
    for kind in [UnitKind::Daily, UnitKind::Hourly] {
        assert_eq!(plain.fingerprint(kind), same.fingerprint(kind));
    }
    assert_eq!(plain.fingerprint(UnitKind::Periods), plain.fingerprint(UnitKind::Daily));
    assert_ne!(plain.fingerprint(UnitKind::Periods), same.fingerprint(UnitKind::Periods));
    assert!(periods(&plain, &Inventory::new(), &Scope::default(), "2026-03-31T12:00:00Z").is_empty());
}

#[test]
fn an_earlier_first_date_asks_for_more_and_a_later_one_takes_nothing_away() {
    let stream = with_periods();
    let there = |start: &str| {
        let presence = known_periods(&stream, start, "2026-03-20T12:00:00Z");
        let inventory = Inventory::from([(partition(Dataset::Periods, "2026-01"), presence)]);
        let units = periods(&stream, &inventory, &Scope::default(), "2026-03-20T13:00:00Z");
        let unit = units.into_iter().find(|p| p.unit.month.to_string() == "2026-01").unwrap();
        (unit.state, unit.window.start.to_string())
    };
    assert_eq!(there("2026-01-15"), (State::Final, "2026-01-15".into()));
    assert_eq!(there("2026-01-16"), (State::Stale, "2026-01-15".into()));
    assert_eq!(there("2026-01-03"), (State::Final, "2026-01-03".into()));
}

#[test]
fn footers_of_provisional_periods_are_read() {
    let stream = with_periods();
    let place = partition(Dataset::Periods, "2026-01");
    let needs = |written_at, now| needs_footer(&stream, &place, at(written_at), true, at(now));
    assert!(needs("2026-01-20T00:00:00Z", "2026-02-03T00:00:00Z"), "the month has not settled");
    assert!(needs("2026-01-20T00:00:00Z", "2026-06-01T00:00:00Z"), "it was written before that");
    assert!(!needs("2026-02-20T00:00:00Z", "2026-06-01T00:00:00Z"), "written long after");
}

#[test]
fn upkeep_and_budget() {
    let limit = |requests, secs| RateLimit { requests, per: Duration::from_secs(secs) };
    assert_eq!(daily_budget(&[limit(60, 60), limit(1800, 3600)]), 1800 * 24);
    assert_eq!(daily_budget(&[]), u64::MAX);
    // Rolling: today and three days that may change; weeks and quarters: one under way, one that has ended.
    assert_eq!(upkeep(&with_periods()), 4 + 2 + 2);
    assert_eq!(upkeep(&Stream { settle_days: 0, ..with_periods() }), 3);
    assert_eq!(upkeep(&Stream::example()), 0);
}

#[test]
fn the_least_time_when_streams_take_turns() {
    let secs = |times: &[u64], at_once| {
        in_parallel(times.iter().map(|&secs| Duration::from_secs(secs)), at_once).as_secs()
    };
    assert_eq!(secs(&[60, 60, 60], 8), 60);
    assert_eq!(secs(&[60, 30, 40], 2), 70);
    assert_eq!(secs(&[], 2), 0);
}
