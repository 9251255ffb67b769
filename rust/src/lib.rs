//! The native kernel: equal to `csv2kafka/kernel/_python` in every result, and many times as fast.
//!
//! `boundary` finds record ends, `encode` makes rows of a chunk, `digest` hashes them, `compare` compares them, `pack`
//! and `unpack` are Kafka's record batch, `inflate` reads gzip's deflate. Rows are written once, as the records of a batch (`held`), in a buffer that
//! is used again (`pool`). None of them knows Python; `python` is the only place that does, with `given`.
#![forbid(unsafe_code)]

pub mod boundary;
pub mod columns;
pub mod compare;
pub mod compression;
pub mod dialect;
pub mod digest;
pub mod encode;
pub mod fused;
pub mod held;
pub mod index;
pub mod inflate;
pub mod json;
pub mod pack;
pub mod plain;
pub mod pool;
pub mod rows;
pub mod unpack;
pub mod varint;

#[cfg(feature = "python")]
mod given;
#[cfg(feature = "python")]
mod python;
