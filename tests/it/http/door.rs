//! Names, pages, sizes and slowness: what comes in at all.

use super::*;

#[test]
fn without_keys_a_server_knows_itself_by_names_of_this_machine_alone() {
    let setup = Setup::new().args(["--allowed-hosts", "tags.example.com"]);
    let controller = setup.args(["--allowed-origins", "https://console.example.com"]).start();
    controller.readiness(200);
    let client = Client::new(&controller, "");
    let host = |host: &str| client.send("GET /v1/policies", &[("host", host)], "");
    for known in ["localhost:8080", "127.0.0.1", "[::1]:1", "tags.example.com"] {
        assert_eq!(host(known).status, 200, "{known}");
    }
    host("evil.example").is(403, "host_not_allowed");
    host("").is(400, "bad_host");
    let page = |origin: &str| client.send("GET /v1/policies", &[("origin", origin)], "");
    let let_in = page("https://console.example.com");
    assert_eq!(let_in.status, 200);
    assert!(
        let_in.head.contains("access-control-allow-origin: https://console.example.com"),
        "{}",
        let_in.head
    );
    page("https://evil.example").is(403, "origin_not_allowed");
    page("null").is(403, "origin_not_allowed");
    let asking = [("origin", "https://console.example.com"), ("access-control-request-method", "PUT")];
    let first = client.send("OPTIONS /v1/audits/x", &asking, "");
    assert_eq!(first.status, 204);
    assert!(first.head.contains("access-control-allow-methods: get, post, put, delete"), "{}", first.head);
    controller.stop();
}

#[test]
fn what_is_too_large_is_refused_and_what_is_too_slow_is_dropped() {
    let controller = Setup::new().start();
    controller.readiness(200);
    let client = Client::new(&controller, "");
    let large = format!("{{\"audit\": \"{}\"}}", "x".repeat(1 << 20));
    client.post("/v1/runs", &large).is(413, "too_large");
    client.send("GET /v1/policies", &[("x-long", &"x".repeat(40 << 10))], "").is(431, "too_large");
    client.get(&format!("/v1/runs?policy={}", "x".repeat(10 << 10))).is(414, "too_large");
    client.get(&format!("/v1/runs?policy={}", "x".repeat(2000))).is(400, "invalid_input");
    client.get("/v1/policies/a%0ab").is(400, "invalid_input");
    client.get("/v1/policies/%ff").is(400, "invalid_input");
    client.get("/v1/runs?unknown=1").is(400, "invalid_input");

    let mut slow = TcpStream::connect(client.address).unwrap();
    slow.set_read_timeout(Some(WITHIN)).unwrap();
    slow.write_all(b"GET /v1/policies HTTP/1.1\r\nhost: local").unwrap();
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    assert_eq!(client.get("/v1/policies").status, 200, "others do not notice");
    controller.stop();
}

#[test]
fn who_asks_too_often_waits() {
    let setup = Setup::new().args(["--auth", "keys", "--tenant-rate", "1"]);
    let controller = setup.start();
    controller.readiness(200);
    let directory = controller.directory();
    let (first, second) = (key(directory, &["--tenant", "acme"]), key(directory, &["--tenant", "rival"]));
    let client = Client::new(&controller, &first);
    let limited = client.until("/v1/policies", |answer| answer.status == 429);
    limited.is(429, "rate_limited");
    assert!(limited.head.contains("retry-after: ") && limited.json()["retryAfter"].is_u64(), "{limited:?}");
    assert_eq!(client.with(&second).get("/v1/policies").status, 200);
    client.with("").until("/v1/policies", |answer| answer.status == 429).is(429, "rate_limited");
    assert_eq!(client.with(&second).get("/v1/policies").status, 200, "strangers slow nobody else down");
    controller.stop();
}

#[test]
fn keys_are_asked_for_wherever_others_can_come() {
    let open = Setup::new().args(["--listen", "0.0.0.0:0"]);
    let controller = open.start();
    let line = controller.logs(&["\"listen\":\"0.0.0.0:"]);
    let line: Value = serde_json::from_str(&line).unwrap();
    let port: SocketAddr = line["listen"].as_str().unwrap().parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port.port()));
    let client = Client { address, key: String::new() };
    client.get("/v1/policies").is(401, "unauthorized");
    client.send("GET /v1/policies", &[("host", "any.name.example")], "").is(401, "unauthorized");
    assert_eq!(client.get("/health").status, 200);
    controller.stop();
}
