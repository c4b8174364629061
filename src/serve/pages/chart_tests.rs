use super::*;

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

#[test]
fn the_axis_has_few_round_figures_and_holds_the_most() {
    assert_eq!(ticks(0), [0, 1]);
    assert_eq!(ticks(4), [0, 1, 2, 3, 4]);
    assert_eq!(ticks(437), [0, 100, 200, 300, 400, 500]);
    assert_eq!(ticks(1001), [0, 500, 1000, 1500]);
    for most in [0, 1, 7, 99, 12_345, 1 << 40, i64::MAX] {
        let ticks = ticks(most);
        assert!((2..=6).contains(&ticks.len()) && *ticks.last().unwrap() >= most, "{most}: {ticks:?}");
        assert!(ticks.is_sorted());
    }
}

#[test]
fn a_line_breaks_at_gaps_and_dots_what_stands_alone() {
    assert_eq!(path(&[Some(0), Some(10), None, Some(5)], 10, 100.0), "M0 100.0L1 0.0M3 50.0h0");
    assert_eq!(path(&[None, None], 10, 100.0), "");
    assert_eq!(area(&[None, Some(10), Some(0), None], 10, 100.0), "M1 100.0L1 0.0L2 100.0L2 100.0Z");
}

#[test]
fn a_small_line_goes_in_steps() {
    let values = [Some(0), Some(10), Some(5), None, Some(5)];
    assert_eq!(steps(&values, 10, false), "M0 100l1-100 1 50M4 50h0");
    assert_eq!(steps(&values, 10, true), "M0 100V100l1-100 1 50V100M4 100V50h0V100");
    assert_eq!(steps(&[], 1, true), "");
}

#[test]
fn nothing_is_not_a_number() {
    // Charts without any day, with one, and with figures as large as they can be.
    for values in [vec![], vec![None], vec![Some(i64::MAX)], vec![Some(0), None]] {
        let series = [Series { name: "a", class: "unique", values: values.clone() }];
        let caption = Caption { id: "c", title: "t", description: String::new() };
        let drawn = lines(&caption, date("2026-01-01"), (&series, &values), Some(0)).into_string()
            + &spark(&values, "").into_string();
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }
    let caption = Caption { id: "c", title: "t", description: String::new() };
    assert!(!bars(&caption, &[]).into_string().contains("NaN"));
    assert!(!heat(&caption, &week(std::iter::empty())).into_string().contains("NaN"));
}

#[test]
fn means_of_a_week() {
    let week: Vec<_> = (1..=8).map(Some).collect();
    assert_eq!(weekly(&week), [None, None, None, None, None, None, Some(4), Some(5)]);
    let gaps = [Some(7), None, None, None, Some(1), Some(1), Some(3), None];
    assert_eq!(weekly(&gaps)[6..], [Some(3), None]);
    assert_eq!(weekly(&[]), []);
}

#[test]
fn dates_of_an_axis() {
    let texts = |first: &str, days| dates(date(first), days).into_iter().map(|(_, t)| t).collect::<Vec<_>>();
    assert_eq!(texts("2025-12-01", 140), ["Dec", "Jan 2026", "Feb", "Mar", "Apr"]);
    assert_eq!(texts("2026-03-01", 20)[..2], ["1 Mar", "3 Mar"]);
    assert_eq!(texts("2026-03-01", 90)[..2], ["1 Mar", "8 Mar"]);
    let three_years = texts("2023-01-01", 3 * 365);
    assert_eq!(three_years[..3], ["Jan 2023", "Apr", "Jul"]);
    for days in [1, 2, 45, 90, 366, 3700] {
        let places = dates(date("2020-02-29"), days);
        assert!((1..=14).contains(&places.len()), "{days}: {places:?}");
        assert!(places.iter().all(|(x, _)| (0.0..=1.0).contains(x)));
    }
}

#[test]
fn a_week_of_means() {
    // 2026-03-02 and 2026-03-09 are Mondays.
    let hours = [(date("2026-03-02"), 9, 10), (date("2026-03-09"), 9, 20), (date("2026-03-08"), 23, 4)];
    let week = week(hours.into_iter());
    assert_eq!((week[0][9], week[6][23], week[0][10]), (Some(15.0), Some(4.0), None));
    assert_eq!([shade(0.0, 15.0), shade(15.0, 15.0), shade(7.5, 15.0), shade(0.0, 0.0)], [0, 8, 4, 0]);
}
