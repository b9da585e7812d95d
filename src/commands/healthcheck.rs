//! `tagwarden healthcheck`: asks a controller how it is, for orchestrators that can only run a command, in an image
//! that holds no other program.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::Failure;
use crate::cli::Healthcheck;

/// Orchestrators wait five seconds or more.
const WITHIN: Duration = Duration::from_secs(4);

/// The most of an answer that is read.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// Exit status: nobody answers, or the answer is no.
const UNWELL: u8 = 1;

/// Prints what the controller says of itself. The status is 0 where that is good.
pub(super) fn run(flags: Healthcheck) -> Result<u8, Failure> {
    let address = match flags.address {
        Some(address) => address,
        None => reachable(flags.settings.resolve()?.settings.metrics_listen).to_string(),
    };
    let path = if flags.ready { "/readyz" } else { "/healthz" };
    let mut out = io::stdout().lock();
    match ask(&address, path) {
        Ok((200, body)) => {
            writeln!(out, "{}", body.trim_end())?;
            Ok(0)
        }
        Ok((status, body)) => {
            writeln!(out, "http://{address}{path} answers {status}: {}", body.trim_end())?;
            Ok(UNWELL)
        }
        Err(error) => {
            writeln!(out, "http://{address}{path} does not answer: {error}")?;
            Ok(UNWELL)
        }
    }
}

/// Where this machine reaches a listener: one on all addresses is on loopback, too.
fn reachable(mut listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listener.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listener.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listener
}

/// The status and the body of an answer that came whole and in time.
fn ask(address: &str, path: &str) -> io::Result<(u16, String)> {
    let deadline = Instant::now() + WITHIN;
    let mut stream = connect(address, deadline)?;
    // HTTP/1.0: the answer ends with the connection, and comes in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while (answer.len() as u64) < ANSWER_BYTES_MAX {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut chunk)? {
            0 => break,
            length => answer.extend_from_slice(&chunk[..length]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "this is no HTTP answer");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(strange)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(strange)?;
    Ok((status, body.to_owned()))
}

/// The first of the addresses that takes a connection.
fn connect(address: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, left(deadline)?) {
            Ok(stream) => {
                stream.set_write_timeout(Some(left(deadline)?))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long")) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with these bytes.
    fn server(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.0\r\n"));
            stream.write_all(answer).unwrap();
        });
        address
    }

    #[test]
    fn answers_are_read_whole() {
        let ready = server(b"HTTP/1.0 200 OK\r\ncontent-length: 6\r\n\r\nready\n");
        assert_eq!(ask(&ready, "/readyz").unwrap(), (200, "ready\n".to_owned()));
        let not = server(b"HTTP/1.1 503 Service Unavailable\r\n\r\n[-] store: away\nnot ready\n");
        assert_eq!(ask(&not, "/readyz").unwrap(), (503, "[-] store: away\nnot ready\n".to_owned()));
        for strange in [&b""[..], b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.0 two hundred\r\n\r\n"] {
            let error = ask(&server(strange), "/readyz").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }

    #[test]
    fn nobody_is_an_error() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        assert_eq!(ask(&free, "/readyz").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(ask("no port", "/readyz").is_err());
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        for (listener, expected) in
            [("0.0.0.0:8081", "127.0.0.1:8081"), ("[::]:8081", "[::1]:8081"), ("10.1.2.3:80", "10.1.2.3:80")]
        {
            assert_eq!(reachable(listener.parse().unwrap()).to_string(), expected);
        }
    }
}
