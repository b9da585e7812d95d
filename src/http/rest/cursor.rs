//! Cursors: a place in a list, good for that list and that tenant alone.

use sha2::{Digest as _, Sha256};

use super::operation::bad;
use crate::fault::Fault;

/// Bytes of the digest that ties a cursor to its list.
const SEAL: usize = 8;

/// The list that a cursor belongs to: whose it is, and everything that was asked for.
pub(super) struct List<'a>(pub &'a [&'a str]);

impl List<'_> {
    /// A cursor for this place.
    pub fn cursor(&self, place: &str) -> String {
        hex::encode([&self.seal(place)[..], place.as_bytes()].concat())
    }

    /// The place of a cursor of this list.
    pub fn place(&self, cursor: &str) -> Result<String, Fault> {
        let foreign = || bad("the cursor is not one of this list: leave it out to begin anew");
        let bytes = hex::decode(cursor).map_err(|_| foreign())?;
        let (seal, place) = bytes.split_at_checked(SEAL).ok_or_else(foreign)?;
        let place = std::str::from_utf8(place).map_err(|_| foreign())?;
        if seal == self.seal(place) { Ok(place.to_owned()) } else { Err(foreign()) }
    }

    fn seal(&self, place: &str) -> [u8; SEAL] {
        let mut digest = Sha256::new();
        for part in self.0.iter().copied().chain([place]) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let mut seal = [0; SEAL];
        seal.copy_from_slice(&digest.finalize()[..SEAL]);
        seal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_list_alone() {
        let list = List(&["acme", "runs", ""]);
        let cursor = list.cursor("7");
        assert_eq!(list.place(&cursor).unwrap(), "7");
        for other in [&["team-b", "runs", ""], &["acme", "violations", ""], &["acme", "runs", "x"]] {
            assert!(List(other).place(&cursor).is_err(), "{other:?}");
        }
        for wrong in ["", "7", "zz", &cursor[2..], &format!("{cursor}00")] {
            assert!(list.place(wrong).is_err(), "{wrong}");
        }
    }
}
