//! Buffers that a thread keeps from call to call, so that their pages are not asked for anew each time.

use std::cell::RefCell;

/// What a thread keeps at most, in each of its buffers. A rare giant is given back.
const KEPT_BYTES: usize = 8 << 20;

thread_local! {
    static VALUES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static PACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static BODY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy)]
pub enum Use {
    Values,
    Body,
    Packed,
}

/// The thread's buffer, with whatever is in it. To be given back with `give_back`.
pub fn take(what: Use) -> Vec<u8> {
    with(what, |kept| kept.take())
}

pub fn give_back(what: Use, buffer: Vec<u8>) {
    if buffer.len() <= KEPT_BYTES {
        with(what, |kept| kept.replace(buffer));
    }
}

/// Make it at least `size` long. What was in it may be lost.
pub fn stretch(buffer: &mut Vec<u8>, size: usize) {
    if buffer.len() < size {
        buffer.clear();
        buffer.resize(size, 0);
    }
}

fn with<T>(what: Use, work: impl FnOnce(&RefCell<Vec<u8>>) -> T) -> T {
    match what {
        Use::Values => VALUES.with(work),
        Use::Body => BODY.with(work),
        Use::Packed => PACKED.with(work),
    }
}
