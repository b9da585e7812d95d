//! `/health` answers at once, whatever hangs behind it.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tagwarden_testbed::Testbed;

use super::*;

/// A wire to a server on which everything can stand still.
struct Wire {
    address: SocketAddr,
    still: Arc<AtomicBool>,
}

impl Wire {
    fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self { address: listener.local_addr().unwrap(), still: Arc::default() };
        let still = Arc::clone(&wire.still);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(upstream) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let still = Arc::clone(&still);
                    std::thread::spawn(move || carry(from, to, &still));
                }
            }
        });
        wire
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, still: &AtomicBool) {
    let mut buffer = [0; 4096];
    while let Ok(read) = from.read(&mut buffer) {
        while still.load(Ordering::SeqCst) {
            std::thread::park_timeout(LOOK_AGAIN);
        }
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn health_answers_at_once_while_the_store_hangs() {
    let database = Testbed::postgres().fresh_database().unwrap();
    let mut url: url::Url = database.parse().unwrap();
    let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap()).parse().unwrap();
    let wire = Wire::to(upstream);
    url.set_port(Some(wire.address.port())).unwrap();
    let controller = guarded().args(["--store", url.as_str()]).start();
    let client = Client::new(&controller, "");
    let well = client.until("/health", |answer| answer.json()["status"] == "ok");
    assert_eq!(well.json()["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(well.json()["policySource"], "embedded");
    client.until("/health", |answer| answer.json()["policiesSyncedAt"].is_string());
    let made = Program::alone().args(["keys", "create", "--store", url.as_str()]).run().stdout;
    let holder = client.with(made.trim());
    assert_eq!(holder.get("/v1/policies").status, 200);

    wire.still.store(true, Ordering::SeqCst);
    let store = |answer: &Answer| {
        let checks = answer.json()["checks"].clone();
        checks.as_array().unwrap().iter().find(|check| check["name"] == "store").unwrap()["ok"] == true
    };
    let deadline = Instant::now() + WITHIN;
    let mut slowest = Duration::ZERO;
    loop {
        let began = Instant::now();
        let answer = client.get("/health");
        slowest = slowest.max(began.elapsed());
        assert_eq!(answer.status, 200);
        if !store(&answer) {
            assert_eq!(answer.json()["status"], "degraded");
            break;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        std::thread::park_timeout(LOOK_AGAIN);
    }
    // A hundred milliseconds on a machine that does nothing else.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    // A key that was known is still known.
    assert_ne!(holder.get("/v1/nothing").status, 401);

    wire.still.store(false, Ordering::SeqCst);
    client.until("/health", |answer| answer.json()["status"] == "ok");
    controller.stop();
}

#[test]
fn health_tells_when_policies_were_last_heard_of() {
    let setup = Setup::new().file("manifests/owner.yaml", crate::program::OWNER_REQUIRED);
    let controller = setup.with_manifests();
    let client = Client::new(&controller, "");
    let synced = |answer: &Answer| {
        let at = answer.json()["policiesSyncedAt"].as_str()?.parse::<jiff::Timestamp>().ok()?;
        (answer.json()["policySource"] == "manifests").then_some(at)
    };
    client
        .until("/v1/policies", |answer| answer.json()["items"].as_array().is_some_and(|all| all.len() == 1));
    let first = synced(&client.until("/health", |answer| synced(answer).is_some())).unwrap();
    controller.write("owner.yaml", &crate::program::OWNER_REQUIRED.replace("Owner", "Team"));
    client.until("/health", |answer| synced(answer).is_some_and(|at| at > first));
    controller.stop();
}
