use super::*;

const MS: Duration = Duration::from_millis(1);
const GOOD: Outcome<'static> = Outcome::Result { cache_hit: false };

/// The books of stream 3 whose messages are of use for 50 ms, and the instant at which its run starts.
fn books() -> (Books, Instant) {
    (Books::new(3, vec![Some(50 * MS)]), Instant::now())
}

/// A measured message that is due, and handed over, at this instant.
fn due(intended: Instant) -> Due {
    Due { message: 0, payload: 0, measured: true, intended, handed_over: intended }
}

fn finish(mut books: Books) -> Tally {
    books.close([].into_iter(), &Ending::Finished)
}

#[test]
fn ids_are_numbered_within_their_stream() {
    let (mut books, start) = books();
    let ids = [books.take(due(start), start), books.take(due(start), start)];
    assert_eq!(ids, [3 << 40, (3 << 40) + 1]);
}

#[test]
fn latency_counts_from_the_intended_send_and_beside_it_from_the_actual_one() {
    let (mut books, start) = books();
    let id = books.take(due(start), start + 30 * MS);
    books.answer(id, start + 40 * MS, GOOD);
    let total = finish(books).total();
    assert_eq!((total.sent, total.ok, total.in_time), (1, 1, 1));
    assert_eq!(total.corrected.percentiles().p50_us / 100, 400);
    assert_eq!(total.uncorrected.percentiles().p50_us / 100, 100);
}

#[test]
fn an_answer_after_the_timeout_is_good_but_not_in_time() {
    let (mut books, start) = books();
    let ids = [books.take(due(start), start), books.take(due(start), start)];
    books.answer(ids[0], start + 50 * MS, GOOD);
    books.answer(ids[1], start + 51 * MS, GOOD);
    let total = finish(books).total();
    assert_eq!((total.ok, total.in_time), (2, 1));
}

#[test]
fn answers_in_any_order_strike_their_own_messages_off() {
    let (mut books, start) = books();
    let ids: Vec<u64> = (0..4).map(|_| books.take(due(start), start)).collect();
    for id in [ids[2], ids[0], ids[1]] {
        books.answer(id, start, GOOD);
    }
    assert_eq!((books.first, books.window.len()), (3, 1), "the window begins with what is unanswered");
    let tally = finish(books);
    assert_eq!((tally.total().ok, tally.lost, tally.duplicates, tally.unknown), (3, 1, 0, 0));
}

#[test]
fn a_second_answer_is_a_duplicate_wherever_the_window_is() {
    let (mut books, start) = books();
    let ids: Vec<u64> = (0..3).map(|_| books.take(due(start), start)).collect();
    for id in [ids[1], ids[1], ids[0], ids[0]] {
        books.answer(id, start, GOOD);
    }
    let tally = finish(books);
    assert_eq!((tally.total().ok, tally.duplicates, tally.lost), (2, 2, 1));
}

#[test]
fn an_answer_to_what_was_never_asked_is_unknown() {
    let (mut books, start) = books();
    let id = books.take(due(start), start);
    for stranger in [id + 1, 0, u64::MAX, 4 << 40] {
        books.answer(stranger, start, GOOD);
    }
    let tally = finish(books);
    assert_eq!((tally.unknown, tally.lost, tally.total().ok), (4, 1, 0));
}

#[test]
fn errors_are_counted_by_code_with_the_first_text_of_each() {
    let (mut books, start) = books();
    for (code, why) in
        [(Code::ResourceExhausted, "full"), (Code::ResourceExhausted, "again"), (Code::Internal, "oh")]
    {
        let id = books.take(due(start), start);
        books.answer(id, start, Outcome::Error(code, why));
    }
    let tally = finish(books);
    let failures: Vec<_> =
        tally.failures.iter().map(|(&code, f)| (code, f.count, f.example.as_str())).collect();
    assert_eq!(failures, [("INTERNAL", 1, "oh"), ("RESOURCE_EXHAUSTED", 2, "full")]);
    assert_eq!((tally.total().failed, tally.total().ok), (3, 0));
}

#[test]
fn what_a_failed_stream_leaves_has_its_status_and_is_not_lost() {
    let (mut books, start) = books();
    books.take(due(start), start);
    let ending = Ending::Failed(Status::unavailable("gone"));
    let tally = books.close([due(start), due(start)].into_iter(), &ending);
    assert_eq!(tally.failures["UNAVAILABLE"].count, 3);
    assert_eq!((tally.total().sent, tally.total().failed, tally.lost, tally.unsent), (3, 3, 0, 0));
}

#[test]
fn what_the_transport_never_took_is_sent_and_lost() {
    let (mut books, start) = books();
    books.take(due(start), start);
    let tally = books.close([due(start)].into_iter(), &Ending::Cut);
    assert_eq!((tally.total().sent, tally.lost, tally.unsent), (2, 2, 1));
}

#[test]
fn the_warm_up_counts_for_nothing_but_what_it_loses() {
    let (mut books, start) = books();
    let warm_up = Due { measured: false, ..due(start) };
    let ids: Vec<u64> = (0..3).map(|_| books.take(warm_up, start)).collect();
    books.answer(ids[0], start, GOOD);
    books.answer(ids[1], start, Outcome::Error(Code::Internal, "oh"));
    let tally = finish(books);
    let total = tally.total();
    assert_eq!((total.sent, total.ok, total.failed, tally.lost, tally.lost_in_warm_up), (0, 0, 0, 0, 1));
}

#[test]
fn a_late_pacer_is_the_generators_lateness() {
    let (mut books, start) = books();
    books.take(Due { handed_over: start + 2 * MS, ..due(start) }, start + 2 * MS);
    books.take(Due { handed_over: start + MS, ..due(start) }, start + 2 * MS);
    let tally = finish(books);
    assert_eq!(tally.late, 1, "exactly 1 ms is not late yet");
    assert_eq!(tally.lateness.percentiles().max_us / 10, 200);
}

#[test]
fn a_transport_that_waited_and_woke_late_is_the_generators_lateness() {
    let (mut books, start) = books();
    books.woke(start + 5 * MS);
    // Two had fallen due by then; the third did afterwards.
    for intended in [start, start + 3 * MS, start + 6 * MS] {
        books.take(due(intended), start + 6 * MS);
    }
    let tally = finish(books);
    assert_eq!((tally.total().sent, tally.late), (3, 2));
    assert_eq!(tally.lateness.percentiles().max_us / 10, 500);
}

#[test]
fn a_transport_that_is_held_back_is_the_servers_latency() {
    let (mut books, start) = books();
    books.woke(start);
    // It takes the first at once, and then, held back by flow control, nothing for a second.
    books.take(due(start), start);
    let id = books.take(due(start + MS), start + 1_000 * MS);
    books.answer(id, start + 1_001 * MS, GOOD);
    let tally = finish(books);
    assert_eq!(tally.late, 0);
    assert_eq!(tally.total().corrected.percentiles().max_us / 10_000, 100);
}
