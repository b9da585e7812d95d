//! Connections on which nobody has said yet who they are: few in all, fewer from one address, and not for long.
//!
//! Without this, whoever can reach the port could take every connection there is without ever saying who they are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// What strangers may take: connections on which nobody has said yet who they are.
#[derive(Clone, Copy, Debug)]
pub struct Strangers {
    /// Connections at a time. The others are for those who are known.
    pub connections: usize,
    /// Of them, those of one address (of IPv6: of one network of 64 bits).
    pub per_address: usize,
    /// How long a connection may take, its handshake included, until somebody known is on it.
    pub time: Duration,
}

/// Where strangers stand.
#[derive(Clone, Debug)]
pub(crate) struct Threshold(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Strangers,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The place of one connection; free again once [left](Self::leave), or when the connection is gone. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Step(Arc<Place>);

#[derive(Debug)]
struct Place {
    threshold: Threshold,
    address: IpAddr,
    free: AtomicBool,
    left: CancellationToken,
}

impl Threshold {
    pub fn new(limits: Strangers) -> Self {
        Self(Arc::new(Inner { limits, standing: Mutex::default() }))
    }

    /// A place for a connection from this address, if there is one.
    pub fn enter(&self, address: IpAddr) -> Option<Step> {
        let address = network(address);
        let mut standing = self.0.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let here = standing.by_address.get(&address).copied().unwrap_or_default();
        let limits = self.0.limits;
        if standing.all >= limits.connections || here >= limits.per_address {
            return None;
        }
        standing.all += 1;
        standing.by_address.insert(address, here + 1);
        let (free, left) = (AtomicBool::new(false), CancellationToken::new());
        Some(Step(Arc::new(Place { threshold: self.clone(), address, free, left })))
    }

    fn leave(&self, address: IpAddr) {
        let mut standing = self.0.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.all = standing.all.saturating_sub(1);
        let here = standing.by_address.get(&address).copied().unwrap_or_default();
        if here > 1 {
            standing.by_address.insert(address, here - 1);
        } else {
            standing.by_address.remove(&address);
        }
    }
}

impl Step {
    /// Somebody known is on the connection: the place is free for the next stranger.
    pub fn leave(&self) {
        self.0.leave();
    }

    /// Returns when nobody known came in time; never once somebody did.
    pub async fn overstayed(&self) {
        let patience = self.0.threshold.0.limits.time;
        if tokio::time::timeout(patience, self.0.left.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    }
}

impl Place {
    fn leave(&self) {
        if !self.free.swap(true, Ordering::AcqRel) {
            self.left.cancel();
            self.threshold.leave(self.address);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whoever has one address of IPv6 has the 2^64 beside it, too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(connections: usize, per_address: usize) -> Threshold {
        Threshold::new(Strangers { connections, per_address, time: Duration::from_mins(1) })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_take_all_places_and_all_cannot_take_more_than_there_are() {
        let threshold = threshold(3, 2);
        let first = threshold.enter(address("10.0.0.1")).unwrap();
        let second = threshold.enter(address("::ffff:10.0.0.1")).unwrap();
        assert!(threshold.enter(address("10.0.0.1")).is_none());
        let third = threshold.enter(address("10.0.0.2")).unwrap();
        assert!(threshold.enter(address("10.0.0.3")).is_none(), "there is no room for anybody");
        first.leave();
        drop(first);
        assert!(threshold.enter(address("10.0.0.3")).is_some(), "once left is once free");
        drop((second, third));
        let standing = threshold.0.standing.lock().unwrap();
        assert_eq!((standing.all, standing.by_address.len()), (0, 0));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let threshold = threshold(9, 1);
        let _one = threshold.enter(address("2001:db8:1:2::1")).unwrap();
        assert!(threshold.enter(address("2001:db8:1:2:ffff::9")).is_none());
        assert!(threshold.enter(address("2001:db8:1:3::1")).is_some());
    }
}
