use std::sync::{Arc, Mutex};

use super::*;
use chrono_tz::Tz;

/// Rings by a clock that the test moves, in short steps, as the real one looks at the wall clock.
struct ClockAlarm(Clock);

impl Alarm for ClockAlarm {
    fn ring(&self, at: DateTime<Utc>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while self.0.now() < at {
                let left = (at - self.0.now()).to_std().unwrap_or_default();
                self.0.sleep(left.min(Duration::from_secs(30))).await;
            }
        })
    }
}

struct Kept {
    rounds: Arc<Mutex<Vec<DateTime<Utc>>>>,
    skipped: Arc<Mutex<u64>>,
}

/// Goes round for `span`, each round taking `takes`; `meddle` runs beside it.
async fn keep<F: Future<Output = ()>>(
    clock: &Clock,
    (expression, zone): (&str, Tz),
    span: Duration,
    takes: Duration,
    meddle: F,
) -> Kept {
    let alarm = ClockAlarm(clock.clone());
    let schedule = Schedule::new(&[expression.to_owned()], zone).unwrap();
    let (_new, timetable) = watch::channel(Timetable { schedule, jitter: Duration::from_secs(20) });
    let stop = CancellationToken::new();
    let kept = Kept { rounds: Arc::default(), skipped: Arc::default() };
    let pace = Pace {
        clock: clock.clone(),
        chance: Chance::seeded(1),
        alarm: &alarm,
        timetable,
        stop: stop.clone(),
    };
    let busy = Mutex::new(false);
    let round = async |round| {
        let (Round::Start(tick) | Round::Tick(tick)) = round;
        assert!(!std::mem::replace(&mut *busy.lock().unwrap(), true), "two rounds at once");
        kept.rounds.lock().unwrap().push(tick);
        clock.sleep(takes).await;
        *busy.lock().unwrap() = false;
    };
    let rounds = go_round(pace, round, |n| *kept.skipped.lock().unwrap() += n);
    let end = async {
        clock.sleep(span).await;
        stop.cancel();
    };
    tokio::join!(rounds, end, meddle);
    kept
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_round_at_the_start_and_one_per_tick_over_a_change_of_the_clocks() {
    let clock = Clock::starting_at(at("2026-02-20T12:00:00Z"));
    let zone = chrono_tz::America::New_York;
    let month = Duration::from_hours(24 * 30);
    let kept = keep(&clock, ("30 2 * * *", zone), month, Duration::from_mins(4), async {}).await;
    let rounds = kept.rounds.lock().unwrap();
    assert_eq!(rounds.len(), 1 + 30);
    let days: std::collections::BTreeSet<_> =
        rounds[1..].iter().map(|tick| tick.with_timezone(&zone).date_naive()).collect();
    assert_eq!(days.len(), 30, "a tick on each day, and on none two");
    assert_eq!(*kept.skipped.lock().unwrap(), 0);
}

/// Row 34 of the table of faults.
#[tokio::test(start_paused = true)]
async fn fault_34_a_round_longer_than_its_interval() {
    let clock = Clock::starting_at(at("2026-02-20T12:00:30Z"));
    let day = Duration::from_hours(24);
    let kept = keep(&clock, ("*/10 * * * *", Tz::UTC), day, Duration::from_mins(25), async {}).await;
    let rounds = kept.rounds.lock().unwrap().len() as u64;
    let skipped = *kept.skipped.lock().unwrap();
    assert_eq!(rounds, 1 + 48, "every third tick finds it free");
    assert!((95..=98).contains(&skipped), "{skipped}");
}

/// Row 33 of the table of faults: the wall clock jumps over three days, as it does where a machine sleeps.
#[tokio::test(start_paused = true)]
async fn fault_33_asleep_for_three_days() {
    let clock = Clock::starting_at(at("2026-02-20T12:00:00Z"));
    let sleep = async {
        clock.sleep(Duration::from_mins(90)).await;
        clock.step(TimeDelta::days(3));
    };
    let kept = keep(&clock, ("0 * * * *", Tz::UTC), Duration::from_mins(170), Duration::ZERO, sleep).await;
    let rounds = kept.rounds.lock().unwrap();
    // The start, 13:00, one for all that was slept through, and the next regular one.
    assert_eq!(rounds.len(), 4, "{rounds:?}");
    assert_eq!(*kept.skipped.lock().unwrap(), 71);
}

#[tokio::test(start_paused = true)]
async fn a_step_back_of_the_clock_doubles_no_tick() {
    let clock = Clock::starting_at(at("2026-02-20T12:00:00Z"));
    let step = async {
        clock.sleep(Duration::from_mins(65)).await;
        clock.step(TimeDelta::minutes(-30));
    };
    let kept = keep(&clock, ("0 * * * *", Tz::UTC), Duration::from_mins(170), Duration::ZERO, step).await;
    let rounds = kept.rounds.lock().unwrap();
    assert_eq!(rounds[1..], [at("2026-02-20T13:00:00Z"), at("2026-02-20T14:00:00Z")]);
}
