use super::*;
use crate::model::{Dataset, Grain};
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
        fingerprint: stream().fingerprint(),
        start: "2026-01-15".parse().unwrap(),
        is_final: true,
        old_format: false,
    }
}

fn states(inventory: &Inventory, scope: &Scope, now: &str) -> Vec<(String, Grain, State)> {
    let units = survey(&stream(), inventory, scope, at(now));
    units.into_iter().map(|p| (p.unit.month.to_string(), p.unit.grain, p.state)).collect()
}

#[test]
fn an_empty_lake_misses_everything_newest_first() {
    let units = survey(&stream(), &Inventory::new(), &Scope::default(), at("2026-03-10T12:00:00Z"));
    let windows: Vec<_> =
        units.iter().map(|p| (p.window.start.to_string(), p.window.end.to_string())).collect();
    assert_eq!(windows[0], ("2026-03-01".into(), "2026-03-10".into()));
    assert_eq!(windows[5], ("2026-01-15".into(), "2026-01-31".into()));
    assert!(units.iter().all(|p| p.state == State::Missing));
    assert_eq!(requests(&stream(), &units), 3 * 2 * 2);
}

#[test]
fn a_month_is_final_once_fetched_after_it_settled() {
    // January has settled when February 4 begins.
    for (fetched_at, expected) in
        [("2026-02-03T23:59:59Z", State::Provisional), ("2026-02-04T00:00:00Z", State::Final)]
    {
        let inventory = Inventory::from([(partition(Dataset::Hourly, "2026-01"), known(fetched_at))]);
        let found = states(&inventory, &Scope::default(), "2026-03-10T00:00:00Z");
        assert!(found.contains(&("2026-01".into(), Grain::Hourly, expected)), "{found:?}");
    }
}

#[test]
fn a_unit_is_as_good_as_its_worst_partition() {
    let good = known("2026-02-20T00:00:00Z");
    let mut inventory = Inventory::from([(partition(Dataset::Daily, "2026-01"), good.clone())]);
    let january = |inventory: &Inventory| {
        let found = states(inventory, &Scope::default(), "2026-03-10T00:00:00Z");
        found.into_iter().find(|(m, g, _)| m == "2026-01" && *g == Grain::Daily).unwrap().2
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
            },
            State::Final,
        ),
    ];
    for (presence, expected) in cases {
        let inventory = Inventory::from([(partition(Dataset::Hourly, "2026-01"), presence)]);
        let found = states(&inventory, &Scope::default(), "2026-03-10T00:00:00Z");
        assert!(found.contains(&("2026-01".into(), Grain::Hourly, expected)), "{found:?}");
    }
}

#[test]
fn scopes_widen_narrow_and_force() {
    let scope = Scope {
        from: Some("2025-12".parse().unwrap()),
        to: Some("2026-01".parse().unwrap()),
        force: true,
        broken: None,
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
    let month: Month = "2026-01".parse().unwrap();
    let needs = |written_at, verified, now| needs_footer(&stream(), month, at(written_at), verified, at(now));
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
        assert!(found.contains(&("2026-01".into(), Grain::Hourly, expected)), "{found:?}");
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
