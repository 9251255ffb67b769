//! Large buffers that are used again, whoever used them last, so that their pages are not asked for anew each time.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Smaller ones are the allocator's.
const SMALLEST_KEPT_BYTES: usize = 64 << 10;
/// A rare giant is given back.
const LARGEST_KEPT_BYTES: usize = 10 << 20;
/// A buffer this many times as large as what is wanted is for others: it may be held for long.
const TOO_LARGE: usize = 4;

/// Buffers of one kind that are in nobody's hands.
#[derive(Debug)]
pub struct Pool<T>(Mutex<Vec<Vec<T>>>);

/// What pooled buffers are made of.
pub trait Kept: Copy + Default + 'static {
    /// What all buffers that are kept, and in nobody's hands, have together at most.
    const KEPT_BYTES: usize;

    fn pool() -> &'static Pool<Self>;
}

impl Kept for u8 {
    const KEPT_BYTES: usize = 20 << 20;

    fn pool() -> &'static Pool<u8> {
        static POOL: Pool<u8> = Pool(Mutex::new(Vec::new()));
        &POOL
    }
}

impl Kept for u32 {
    const KEPT_BYTES: usize = 4 << 20;

    fn pool() -> &'static Pool<u32> {
        static POOL: Pool<u32> = Pool(Mutex::new(Vec::new()));
        &POOL
    }
}

impl Kept for [u32; 4] {
    const KEPT_BYTES: usize = 4 << 20;

    fn pool() -> &'static Pool<[u32; 4]> {
        static POOL: Pool<[u32; 4]> = Pool(Mutex::new(Vec::new()));
        &POOL
    }
}

impl<T: Kept> Pool<T> {
    fn take(&self, size: usize) -> Option<Vec<T>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<T>| (size..=size.saturating_mul(TOO_LARGE)).contains(&buffer.len());
        // Of those that fit best the last that was used: most of it may still be in the processor's cache.
        let found = kept.iter().enumerate().rev().filter(|(_, buffer)| fits(buffer));
        let (place, _) = found.min_by_key(|(_, buffer)| buffer.len())?;
        Some(kept.remove(place))
    }

    fn give_back(&self, buffer: Vec<T>) {
        let bytes = |buffer: &Vec<T>| std::mem::size_of_val(&buffer[..]);
        if !(SMALLEST_KEPT_BYTES..=LARGEST_KEPT_BYTES.min(T::KEPT_BYTES)).contains(&bytes(&buffer)) {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest make room: sizes that nobody asks for any longer.
        while kept.iter().map(bytes).sum::<usize>() + bytes(&buffer) > T::KEPT_BYTES {
            kept.remove(0);
        }
        kept.push(buffer);
    }
}

/// Of buffers that are far larger than what is written to them, most often: their other pages never become memory, as
/// they would if all were mixed.
static ROOMY: Pool<u8> = Pool(Mutex::new(Vec::new()));

/// A buffer with whatever was in it before. It goes back to its pool by itself.
#[derive(Debug)]
pub struct Pooled<T: Kept> {
    items: Vec<T>,
    home: &'static Pool<T>,
}

impl Pooled<u8> {
    /// One of at least `size` bytes, of which few will be used.
    pub fn roomy(size: usize) -> Self {
        Self::from(&ROOMY, size)
    }
}

impl<T: Kept> Pooled<T> {
    /// One of at least `size` items.
    pub fn new(size: usize) -> Self {
        Self::from(T::pool(), size)
    }

    fn from(home: &'static Pool<T>, size: usize) -> Self {
        // In steps of an eighth, so that sizes that are almost the same are.
        let step = (size.next_power_of_two() / 8).max(1);
        let size = size.next_multiple_of(step);
        Self { items: home.take(size).unwrap_or_else(|| vec![T::default(); size]), home }
    }

    /// At least `size` items, the first `filled` of them as they were.
    pub fn grow(&mut self, size: usize, filled: usize) {
        if self.items.len() < size {
            let mut larger = Self::from(self.home, size);
            larger[..filled].copy_from_slice(&self[..filled]);
            *self = larger;
        }
    }
}

impl<T: Kept> Default for Pooled<T> {
    fn default() -> Self {
        Self { items: Vec::new(), home: T::pool() }
    }
}

impl<T: Kept> Drop for Pooled<T> {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.items));
    }
}

impl<T: Kept> Deref for Pooled<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T: Kept> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_used_again_by_who_wants_about_as_much() {
        let pool: Pool<u8> = Pool(Mutex::new(Vec::new()));
        pool.give_back(vec![7; 1 << 20]);
        assert!(pool.take((1 << 20) + 1).is_none());
        assert!(pool.take(1000).is_none());
        assert_eq!(pool.take(1 << 19).map(|found| found.len()), Some(1 << 20));
        assert!(pool.take(1 << 19).is_none());
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let pool: Pool<u8> = Pool(Mutex::new(Vec::new()));
        pool.give_back(vec![0; LARGEST_KEPT_BYTES + 1]);
        pool.give_back(vec![0; SMALLEST_KEPT_BYTES - 1]);
        assert!(pool.0.lock().unwrap().is_empty());
        for _ in 0..100 {
            pool.give_back(vec![0; 9 << 20]);
        }
        assert_eq!(pool.0.lock().unwrap().len(), <u8 as Kept>::KEPT_BYTES / (9 << 20));
    }

    #[test]
    fn growing_keeps_what_is_filled() {
        let mut buffer = Pooled::<u8>::new(3);
        buffer.copy_from_slice(b"abc");
        buffer.grow(1 << 20, 2);
        assert_eq!(&buffer[..2], b"ab");
        assert!(buffer.len() >= 1 << 20);
    }
}
