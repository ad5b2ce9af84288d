//! Each limit of the server on the wire: at one below it and at it nothing is counted and nobody is harmed; at one above it
//! its counter moves by one, once, and who is above it fares as it says there. A second client notices nothing of either.
//! Where a setting says where the limit is, 0 is refused.
//!
//! What can be counted is in this table. What a client may leave undone, and for how long, is in `patience.rs`; the last
//! test of this file says where the others are.

mod scenes;

use std::pin::Pin;

use millstream::grpc::server::{Limit, Server, ServerOptions};

use super::{Running, clock, start};
use scenes::*;

/// How the client has fared that came to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// What it asked for was done.
    Served,
    /// Its call came to nothing, its connection went on.
    Refused,
    /// It has to wait.
    Waits,
    /// Its connection has ended.
    CutOff,
}

type Told<'a> = Pin<Box<dyn Future<Output = Fate> + 'a>>;

/// Its name, and how it is set to a figure.
type Setting = (&'static str, fn(&mut ServerOptions, usize));

struct Row {
    limit: Limit,
    /// What it is set by, if by anything.
    setting: Option<Setting>,
    most: usize,
    /// Of who is below it, and at it.
    within: Fate,
    /// Of who is above it.
    above: Fate,
    /// A client comes to so much on a server, where there is another client already, and says how it fared.
    scene: for<'a> fn(&'a Running, usize) -> Told<'a>,
}

impl Row {
    async fn holds(self) {
        let most = self.most;
        for (much, hits, fate) in
            [(most - 1, 0, self.within), (most, 0, self.within), (most + 1, 1, self.above)]
        {
            clock::stopped(async {
                let server = start(|options| {
                    if let Some((_, set)) = self.setting {
                        set(options, most);
                    }
                })
                .await;
                let bystander = server.bystander().await;
                assert_eq!((self.scene)(&server, much).await, fate, "{much} where {most} are allowed");
                server.hit(self.limit, hits).await;
                bystander.noticed_nothing().await;
                assert_eq!(server.counts.hits(self.limit), hits, "{much} where {most} are allowed");
            })
            .await;
        }
        if let Some((field, set)) = self.setting {
            let mut options = ServerOptions::default();
            set(&mut options, 0);
            let refused = Server::bind(options).await.expect_err("0 is refused").to_string();
            assert!(refused.starts_with(&format!("server.{field} = 0 cannot work")), "{refused}");
        }
    }
}

/// A test for each row, and all of them for who wants to know which limits have one.
macro_rules! limits {
    ($($(#[$what:meta])* $name:ident: $row:expr;)*) => {
        $(
            $(#[$what])*
            #[tokio::test]
            async fn $name() {
                $row.holds().await;
            }
        )*

        fn rows() -> Vec<Row> {
            vec![$($row),*]
        }
    };
}

/// The row of a frame that carries nothing. The bucket of a connection is full when it sends the first of them.
fn control(scene: for<'a> fn(&'a Running, usize) -> Told<'a>) -> Row {
    Row {
        limit: Limit::ControlFrames,
        setting: Some(("max_control_frames_per_second", |options, most| {
            options.max_control_frames_per_second = most as u32;
        })),
        most: 20,
        within: Fate::Served,
        above: Fate::CutOff,
        scene,
    }
}

/// The row of what HTTP/2 does not allow: who is above it has broken it, and loses the connection.
fn protocol(setting: Option<Setting>, most: usize, scene: for<'a> fn(&'a Running, usize) -> Told<'a>) -> Row {
    Row { limit: Limit::Protocol, setting, most, within: Fate::Served, above: Fate::CutOff, scene }
}

/// The row of a message by its size.
fn message_size(scene: for<'a> fn(&'a Running, usize) -> Told<'a>) -> Row {
    Row {
        limit: Limit::MessageSize,
        setting: Some(("max_message_size", |options, most| options.max_message_size = most)),
        most: 100_000,
        within: Fate::Served,
        above: Fate::Refused,
        scene,
    }
}

limits! {
    connections_that_are_open: Row {
        limit: Limit::Connections,
        setting: Some(("max_connections", |options, most| options.max_connections = most)),
        most: 4,
        within: Fate::Served,
        above: Fate::Waits,
        scene: |server, much| Box::pin(connections(server, much)),
    };
    calls_that_are_open: Row {
        limit: Limit::ConcurrentStreams,
        setting: Some(("max_concurrent_streams", |options, most| options.max_concurrent_streams = most as u32)),
        most: 7,
        within: Fate::Served,
        above: Fate::Refused,
        scene: |server, much| Box::pin(open_calls(server, much)),
    };
    bytes_of_headers: Row {
        limit: Limit::HeaderListSize,
        setting: Some(("max_header_list_size", |options, most| options.max_header_list_size = most as u32)),
        most: 8000,
        within: Fate::Served,
        above: Fate::Refused,
        scene: |server, much| Box::pin(header_list(server, much)),
    };
    /// Four times those that are accepted (h2, `MAX_HEADER_LIST_ABUSE_MULTIPLIER`); a call with so many is refused.
    bytes_of_headers_that_are_read_to_their_end: Row {
        within: Fate::Refused,
        ..protocol(
            Some(("max_header_list_size", |options, most| {
                options.max_header_list_size = (most as u32 / 4).saturating_sub(1);
            })),
            4 * 1025,
            |server, much| Box::pin(header_list(server, much)),
        )
    };
    /// Of those beside the last one h2 allows five, where headers as large as `max_header_list_size` fit in fewer frames.
    continuations_of_headers: protocol(None, 5, |server, much| Box::pin(continuations(server, much)));
    /// A quarter more than headers as large as `max_header_list_size` take.
    continuations_of_headers_that_take_many: protocol(
        Some(("max_header_list_size", |options, most| {
            options.max_header_list_size = (most as u32 * 4 / 5) << 14;
        })),
        10,
        |server, much| Box::pin(continuations(server, much)),
    );
    bytes_of_a_frame: protocol(
        Some(("max_frame_size", |options, most| options.max_frame_size = most as u32)),
        20_000,
        |server, much| Box::pin(frame_size(server, much)),
    );
    calls_that_are_taken_back_unseen: protocol(
        Some(("max_pending_reset_streams", |options, most| options.max_pending_reset_streams = most)),
        7,
        |server, much| Box::pin(pending_resets(server, much)),
    );
    calls_that_break_the_protocol: protocol(
        Some(("max_local_error_reset_streams", |options, most| options.max_local_error_reset_streams = most)),
        3,
        |server, much| Box::pin(broken_calls(server, much)),
    );
    pings: control(|server, much| Box::pin(control_frames(server, much, PING)));
    settings: control(|server, much| Box::pin(control_frames(server, much, SETTINGS)));
    window_updates: control(|server, much| Box::pin(control_frames(server, much, WINDOW_UPDATE)));
    priorities: control(|server, much| Box::pin(control_frames(server, much, PRIORITY)));
    resets_of_one_call: control(|server, much| Box::pin(control_frames(server, much, RESET)));
    frames_of_a_message_with_nothing_in_them: control(|server, much| Box::pin(control_frames(server, much, EMPTY_DATA)));
    frames_of_no_known_kind: control(|server, much| Box::pin(control_frames(server, much, UNKNOWN)));
    bytes_of_a_call_that_are_unread: Row {
        limit: Limit::CallProtocol,
        setting: Some(("stream_window", |options, most| options.stream_window = most as u32)),
        most: 40_000,
        within: Fate::Served,
        above: Fate::Refused,
        scene: |server, much| Box::pin(unread_bytes(server, much)),
    };
    bytes_of_a_message_of_a_unary_call: message_size(|server, much| Box::pin(unary_message(server, much)));
    bytes_of_a_message_of_a_stream: message_size(|server, much| Box::pin(message_of_a_stream(server, much)));
    /// Above the room of two messages of which each counts in kilobytes: the second is the one that is too large by a byte.
    bytes_of_messages_that_are_under_way: Row {
        limit: Limit::Receiving,
        setting: Some(("max_receiving_bytes", |options, most| {
            options.max_message_size = 256 << 10;
            options.max_receiving_bytes = most;
            options.max_concurrent_streams = 8;
            options.stream_window = 1 << 20;
        })),
        most: 256 << 10,
        within: Fate::Served,
        above: Fate::Waits,
        scene: |server, much| Box::pin(messages_under_way(server, much)),
    };
}

/// Another limit of the server does not go by unnoticed: it is in the table, or it is said here where it is looked at.
#[test]
fn every_limit_has_a_row_or_a_test_elsewhere() {
    let elsewhere = [
        // A matter of time: `patience.rs`; of the last two, `a_flood_of_pings_whose_answers_are_not_read_…` in `limits.rs`,
        // and the tests of `src/grpc/server/timed_io.rs`.
        Limit::Handshake,
        Limit::Keepalive,
        Limit::Read,
        Limit::Unread,
        Limit::Write,
        // The system's: `tests/faults/scarcity.rs`, and `src/grpc/server/accept.rs`.
        Limit::Descriptors,
        Limit::Accept,
    ];
    let rows = rows();
    for limit in Limit::ALL {
        let has_a_row = rows.iter().any(|row| row.limit == limit);
        assert!(has_a_row != elsewhere.contains(&limit), "{limit:?}");
    }
    let set: Vec<_> = rows.iter().filter_map(|row| Some(row.setting?.0)).collect();
    // Taken apart so that a new setting does not compile until it is looked at here.
    let ServerOptions {
        listen: _,
        max_connections: _,
        handshake_timeout: _,
        read_timeout: _,
        write_timeout: _,
        max_message_size: _,
        max_receiving_bytes: _,
        max_concurrent_streams: _,
        max_header_list_size: _,
        max_frame_size: _,
        max_pending_reset_streams: _,
        max_local_error_reset_streams: _,
        max_control_frames_per_second: _,
        stream_window: _,
        // Cannot be used up by calls whose windows hold: `windows_that_fit_frames_of_five_bytes_exactly_…` in `main.rs`.
        connection_window: _,
        keepalive_interval: _,
        keepalive_timeout: _,
        drain_timeout: _,
    } = ServerOptions::default();
    for field in [
        "max_connections",
        "max_message_size",
        "max_receiving_bytes",
        "max_concurrent_streams",
        "max_header_list_size",
        "max_frame_size",
        "max_pending_reset_streams",
        "max_local_error_reset_streams",
        "max_control_frames_per_second",
        "stream_window",
    ] {
        assert!(set.contains(&field), "{field}");
    }
}
