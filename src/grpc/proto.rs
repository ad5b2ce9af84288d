//! The wire, generated from `proto/millstream/v1/data_plane.proto`.
#![allow(missing_docs, unreachable_pub, clippy::all)]

tonic::include_proto!("millstream.v1");

/// The same as descriptors, encoded: what reflection tells.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/millstream.descriptors"));
