//! The database is away at the start, goes away later, and comes back.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tagwarden_testbed::Testbed;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::bed::{WIDGETS, ask, get, open, until, watch as watch_widgets, widget};
use crate::{Location, Options};

/// Stands between a plane and its database, and can be cut.
struct Cable {
    plugged: watch::Sender<bool>,
    location: Location,
}

impl Cable {
    async fn new(plugged: bool) -> Self {
        let url =
            tokio::task::spawn_blocking(|| Testbed::postgres().fresh_database().unwrap()).await.unwrap();
        let mut url = url::Url::parse(&url).unwrap();
        let server: SocketAddr = format!("127.0.0.1:{}", url.port().unwrap()).parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let plugged = watch::Sender::new(plugged);
        tokio::spawn(carry(listener, server, plugged.subscribe()));
        Self { plugged, location: url.as_str().parse().unwrap() }
    }

    fn cut(&self) {
        self.plugged.send_replace(false);
    }

    fn plug(&self) {
        self.plugged.send_replace(true);
    }
}

async fn carry(listener: TcpListener, server: SocketAddr, plugged: watch::Receiver<bool>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut plugged = plugged.clone();
        if !*plugged.borrow() {
            continue;
        }
        tokio::spawn(async move {
            let mut server = TcpStream::connect(server).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = plugged.wait_for(|plugged| !plugged) => {}
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_late_is_waited_for() {
    let cable = Cable::new(false).await;
    let plane = open(&cable.location, Options::new("default")).await;
    let client = plane.client("default");
    let why = plane.ready().unwrap_err().to_string();
    assert!(!why.contains("postgres://") && !why.contains('@'), "{why}");
    let (code, answer) = get(&client, WIDGETS).await;
    assert_eq!((code, &answer["reason"]), (503, &json!("ServiceUnavailable")), "{answer}");
    assert_eq!(answer["details"]["retryAfterSeconds"], 1);
    assert!(!answer.to_string().contains("postgres"), "{answer}");
    assert_eq!(get(&client, "/readyz").await.0, 503);
    cable.plug();
    tokio::time::timeout(Duration::from_secs(30), plane.wait_ready()).await.unwrap();
    until("a widget can be created", || async { ask(&client, "POST", WIDGETS, &widget("a")).await.0 == 201 })
        .await;
    assert_eq!(plane.ready(), Ok(()));
    plane.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_loses_nothing() {
    let cable = Cable::new(true).await;
    let plane = open(&cable.location, Options::new("default")).await;
    let client = plane.client("default");
    let (_, made) = ask(&client, "POST", WIDGETS, &widget("a")).await;
    let from = made["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = watch_widgets(&client, &format!("{WIDGETS}?watch=true&resourceVersion={from}")).await;
    for round in 0..2 {
        cable.cut();
        until("the plane notices", || async { plane.ready().is_err() }).await;
        let (code, answer) = ask(&client, "POST", WIDGETS, &widget("lost")).await;
        assert_eq!(code, 503, "{answer}");
        cable.plug();
        until("the plane is back", || async { plane.ready().is_ok() }).await;
        let name = format!("b{round}");
        until("it can be written to", || async {
            ask(&client, "POST", WIDGETS, &widget(&name)).await.0 == 201
        })
        .await;
        assert_eq!(events.next_short().await, ("ADDED".to_owned(), name), "the same watch goes on");
    }
    assert_eq!(get(&client, &format!("{WIDGETS}/a")).await.1, made);
    assert_eq!(get(&client, &format!("{WIDGETS}/lost")).await.0, 404);
    plane.shutdown().await;
}

#[tokio::test]
async fn what_can_never_work_is_said_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::sqlite(directory.path().join("missing/plane.db"));
    let opened = crate::ControlPlane::open(location, Vec::new(), Options::new("default")).await;
    assert!(opened.unwrap_err().to_string().contains("create it first"));
    let path = directory.path().join("plane.db");
    open(&Location::sqlite(&path), Options::new("default")).await.shutdown().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    sqlx::query("INSERT INTO tagwarden_api_migrations (version) VALUES (99)").execute(&pool).await.unwrap();
    pool.close().await;
    let opened =
        crate::ControlPlane::open(Location::sqlite(&path), Vec::new(), Options::new("default")).await;
    assert!(opened.unwrap_err().to_string().contains("newer version"));
}
