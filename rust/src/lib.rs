//! The native kernel: equal to `csv2kafka/kernel/_python` in every result, and many times as fast.
//!
//! `boundary` finds record ends, `encode` makes columns of rows, `digest` hashes them, `pack` and `unpack` are
//! Kafka's record batch. None of them knows Python; `python` is the only place that does.
#![forbid(unsafe_code)]

pub mod boundary;
pub mod columns;
pub mod compression;
pub mod dialect;
pub mod digest;
pub mod encode;
pub mod fused;
pub mod index;
pub mod json;
pub mod pack;
pub mod plain;
pub mod rows;
pub mod scratch;
pub mod unpack;
pub mod varint;

#[cfg(feature = "python")]
mod python;
