//! The wire, generated from `proto/millstream/v1/data_plane.proto`.
#![allow(missing_docs, unreachable_pub, clippy::all)]

tonic::include_proto!("millstream.v1");
