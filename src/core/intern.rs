//! Texts as small numbers: tag keys and values repeat so much that each is worth looking at only once.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

/// The number of a text in one [`Interner`], until that is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(u32);

impl Symbol {
    pub(crate) const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Dense, from zero.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Gives equal texts equal numbers.
#[derive(Debug, Default)]
pub struct Interner {
    symbols: HashMap<Arc<str>, Symbol, Keyed>,
    texts: Vec<Arc<str>>,
    bytes: usize,
}

impl Interner {
    /// The number of the text, the same as before if it was seen before.
    pub fn intern(&mut self, text: &str) -> Symbol {
        if let Some(symbol) = self.symbols.get(text) {
            return *symbol;
        }
        // Four billion texts do not fit in memory; whoever owns an interner clears it long before.
        let symbol = Symbol(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        let text: Arc<str> = text.into();
        self.bytes += text.len();
        self.texts.push(Arc::clone(&text));
        self.symbols.insert(text, symbol);
        symbol
    }

    /// The text of a number that this interner gave out since it was last cleared.
    pub fn text(&self, symbol: Symbol) -> &Arc<str> {
        &self.texts[symbol.index()]
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The length of all texts together, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets every text; numbers given out before mean nothing any more.
    pub fn clear(&mut self) {
        self.symbols.clear();
        self.texts.clear();
        self.bytes = 0;
    }
}

/// A hash for short texts, several times as fast as the default one. Its key is as random as the default's, because
/// the texts come from whoever may tag a resource; nothing that leaves this module depends on it.
#[derive(Debug, Clone)]
struct Keyed {
    key: u64,
}

impl Default for Keyed {
    fn default() -> Self {
        Self { key: RandomState::new().hash_one(0_u8) }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding { state: self.key, key: self.key.rotate_left(32) | 1 }
    }
}

struct Folding {
    state: u64,
    key: u64,
}

impl Folding {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.key ^ 0x9e37_79b9_7f4a_7c15);
        // Both halves: the low one depends only on low bits, the high one on all.
        #[allow(clippy::cast_possible_truncation)]
        let folded = (product as u64) ^ ((product >> 64) as u64);
        self.state = folded;
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.fold(u64::from_le_bytes(last));
        self.fold(bytes.len() as u64);
    }

    // What `str` writes after itself; the length is in the state already.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_texts_get_equal_numbers() {
        let mut interner = Interner::default();
        let owner = interner.intern("Owner");
        assert_ne!(owner, interner.intern("owner"));
        assert_eq!(owner, interner.intern("Owner"));
        assert_eq!((&**interner.text(owner), interner.len(), interner.bytes()), ("Owner", 2, 10));
        interner.clear();
        assert!(interner.is_empty() && interner.bytes() == 0);
    }

    proptest! {
        #[test]
        fn every_text_is_found_again(texts in prop::collection::vec(".{0,20}", 0..50)) {
            let mut interner = Interner::default();
            let symbols: Vec<_> = texts.iter().map(|text| interner.intern(text)).collect();
            for (text, symbol) in texts.iter().zip(symbols) {
                prop_assert_eq!(text.as_str(), &**interner.text(symbol));
            }
        }
    }
}
