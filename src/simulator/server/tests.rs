use super::*;
use crate::model::{Grain, Month, Points, Question, Slice, Window};
use crate::secret::Secret;
use crate::simulator::{Fault, SimulatedStream, VerifyingKey};
use chrono::{DateTime, Utc};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const PATH: &str = "/api/public/bot/st-1/v2/userEngagementTrend";
const QUERY: &str = "aggregation_type=hourly&start_date=2026-03-01&end_date=2026-03-31\
    &conversationType=All&conversationStatus=All&timeZoneOffset=Asia%2FKolkata";

fn start() -> DateTime<Utc> {
    "2026-04-20T08:00:00Z".parse().unwrap()
}

fn simulator(change: impl FnOnce(&mut Settings)) -> (Simulator, Clock) {
    let clock = Clock::starting_at(start());
    let key = VerifyingKey::Secret(Secret::from("s3cr3t".to_owned()));
    let stream = SimulatedStream { id: "st-1".parse().unwrap(), client_id: "cs-1".into(), key };
    let mut settings = Settings { streams: vec![stream], ..Settings::default() };
    change(&mut settings);
    (Simulator::new(settings, clock.clone()), clock)
}

fn token(clock: &Clock, jti: &str) -> String {
    let now = clock.now().timestamp();
    let claims = json!({"sub": "x", "appId": "cs-1", "iat": now - 30, "exp": now + 270, "jti": jti});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(b"s3cr3t")).unwrap()
}

fn post(simulator: &Simulator, path: &str, query: &str, token: &str) -> Reply {
    simulator.reply(&Call { method: &Method::POST, path, query, auth: Some(token.as_bytes()) })
}

/// A call with everything right and a token of its own.
fn good_call(simulator: &Simulator, clock: &Clock, ordinal: usize) -> Reply {
    post(simulator, PATH, QUERY, &token(clock, &ordinal.to_string()))
}

fn msg(reply: &Reply) -> (u16, String) {
    let json: Value = serde_json::from_slice(&reply.body).unwrap();
    (reply.status, json["errors"][0]["msg"].as_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn the_wire_says_what_the_world_says() {
    let (simulator, clock) = simulator(|_| {});
    let reply = good_call(&simulator, &clock, 0);
    assert_eq!(reply.status, 200);
    let json: Value = serde_json::from_slice(&reply.body).unwrap();
    let month: Month = "2026-03".parse().unwrap();
    let question = Question {
        stream: "st-1".parse().unwrap(),
        grain: Grain::Hourly,
        slice: Slice::ALL,
        zone: chrono_tz::Asia::Kolkata,
        window: Window { month, start: month.first_day(), end: month.last_day() },
    };
    let (summary, Points::Hourly(points)) = simulator.world().answer(&question, clock.now()) else {
        panic!()
    };
    assert_eq!(json["summary"]["avgUniqueUsersPerDay"].as_f64(), summary.averages.unique);
    assert_eq!(json["summary"]["newUsers"].as_i64(), summary.counts.new);
    for point in points {
        let date = point.date.format("%b %d %Y").to_string();
        let trend = json["returningUsersTrend"]["dataPoints"].as_array().unwrap();
        let day = trend.iter().find(|day| day["date"] == date.as_str()).unwrap();
        let key = format!("{} - {}", point.hour, (point.hour + 1) % 24);
        assert_eq!(day[&key].as_i64(), point.counts.returning);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_judged_in_order() {
    let (simulator, clock) = simulator(|settings| settings.max_days = Some(31));
    let fresh = |jti| token(&clock, jti);
    assert_eq!(post(&simulator, "/", QUERY, "").status, 404);
    assert_eq!(post(&simulator, "/api/public/bot/a/b/v2/userEngagementTrend", QUERY, "").status, 404);
    let unknown = post(&simulator, &PATH.replace("st-1", "st-2"), QUERY, "");
    assert_eq!(msg(&unknown), (400, "Invalid StreamId".into()));
    let get = Call { method: &Method::GET, path: PATH, query: QUERY, auth: None };
    assert_eq!(simulator.reply(&get).status, 405);
    assert_eq!(msg(&post(&simulator, PATH, "", "x")), (401, "Invalid JWT token".into()));
    assert_eq!(msg(&post(&simulator, PATH, "", &fresh("a"))).0, 412);
    let replayed = msg(&post(&simulator, PATH, QUERY, &fresh("a")));
    assert!(replayed.0 == 401 && replayed.1.contains("possibly a replay"));
    let long = QUERY.replace("03-31", "04-01");
    assert_eq!(post(&simulator, PATH, &long, &fresh("b")).status, 412);
    assert_eq!(post(&simulator, PATH, QUERY, &fresh("c")).status, 200);

    let stats = simulator.stats();
    assert_eq!(stats.elsewhere, 3);
    let stream = &stats.streams[&"st-1".parse().unwrap()];
    assert_eq!((stream.requests, stream.answered, stream.by_status[&401]), (6, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn both_limits_answer_with_their_text() {
    let (simulator, clock) = simulator(|_| {});
    for ordinal in 0..60 {
        assert_eq!(good_call(&simulator, &clock, ordinal).status, 200);
    }
    let refused = msg(&good_call(&simulator, &clock, 60));
    assert!(refused.0 == 429 && refused.1.contains("per-minute"));
    // A minute after the first: there is room again, although a refused call lies in between.
    clock.sleep(Duration::from_mins(1)).await;
    for minute in 1..30 {
        for ordinal in 0..60 {
            assert_eq!(good_call(&simulator, &clock, minute * 100 + ordinal).status, 200);
        }
        clock.sleep(Duration::from_mins(1)).await;
    }
    let refused = msg(&good_call(&simulator, &clock, 9_000));
    assert!(refused.0 == 429 && refused.1.contains("hourly"));
    clock.sleep(Duration::from_mins(30)).await;
    assert_eq!(good_call(&simulator, &clock, 9_001).status, 200);

    let id = "st-1".parse().unwrap();
    assert_eq!(simulator.arrivals(&id).len(), 1803);
    assert_eq!(simulator.stats().streams[&id].refused, 2);
}

#[tokio::test(start_paused = true)]
async fn refused_calls_count_when_told_so() {
    let window = Duration::from_mins(1);
    let (simulator, clock) = simulator(|settings| {
        settings.limits = vec![(1, window)];
        settings.refused_calls_count = true;
    });
    assert_eq!(good_call(&simulator, &clock, 0).status, 200);
    clock.sleep(window / 2).await;
    assert_eq!(good_call(&simulator, &clock, 1).status, 429);
    clock.sleep(window / 2).await;
    assert_eq!(good_call(&simulator, &clock, 2).status, 429);
    clock.sleep(window).await;
    assert_eq!(good_call(&simulator, &clock, 3).status, 200);
}

#[tokio::test(start_paused = true)]
async fn faults_come_and_go() {
    let (simulator, clock) =
        simulator(|settings| settings.faults = vec!["http-500:first=1".parse().unwrap()]);
    assert_eq!(post(&simulator, PATH, QUERY, "no token").status, 401);
    assert_eq!(good_call(&simulator, &clock, 0).status, 500);
    assert_eq!(good_call(&simulator, &clock, 1).status, 200);
    simulator.set_faults(vec![FaultRule::always(Fault::CutJson)]);
    assert!(serde_json::from_slice::<Value>(&good_call(&simulator, &clock, 2).body).is_err());
    simulator.set_faults(Vec::new());
    assert_eq!(good_call(&simulator, &clock, 3).status, 200);
}

/// Sends one request over a connection of its own and reads until the other side ends it.
async fn exchange(address: SocketAddr, token: &str) -> String {
    let request = format!(
        "POST {PATH}?{QUERY} HTTP/1.1\r\nhost: x\r\nauth: {token}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let exchanged = tokio::task::spawn_blocking(move || {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A reset after the body was cut is as good an end as any.
        let _ = connection.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    });
    exchanged.await.unwrap()
}

#[tokio::test]
async fn serves_and_stops() {
    let (simulator, clock) = simulator(|settings| {
        settings.faults = ["redirect:first=1", "truncated:first=2"].map(|rule| rule.parse().unwrap()).into();
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (simulator, stop) = (simulator.clone(), stop.clone());
        async move { simulator.serve(listener, stop).await }
    });

    let redirect = exchange(address, &token(&clock, "a")).await;
    assert!(redirect.starts_with("HTTP/1.1 302 ") && redirect.contains("location: http://127.0.0.1:9/\r\n"));

    let cut = exchange(address, &token(&clock, "b")).await;
    let (head, body) = cut.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(body.len() < length.parse().unwrap(), "{} of {length}", body.len());

    let good = exchange(address, &token(&clock, "c")).await;
    let (head, body) = good.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("date: Mon, 20 Apr 2026 08:00:"), "{head}");
    assert!(serde_json::from_str::<Value>(body).is_ok());

    stop.cancel();
    serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).is_err());
}

/// Run it with `cargo test --release -- --ignored month_of_hours`. A rehearsal of a large backfill
/// must not be held up by the stand-in.
#[tokio::test]
#[ignore = "measures speed, which only a release build on a quiet machine has"]
async fn answers_5000_months_of_hours_a_second() {
    let (simulator, clock) = simulator(|settings| {
        settings.limits.clear();
        settings.enforce_jti = false;
    });
    let token = token(&clock, "a");
    let calls = 20_000u32;
    let began = clock.instant();
    for _ in 0..calls {
        assert_eq!(post(&simulator, PATH, QUERY, &token).status, 200);
    }
    let per_second = f64::from(calls) / began.elapsed().as_secs_f64();
    assert!(per_second >= 5000.0, "{per_second:.0} a second");
}
