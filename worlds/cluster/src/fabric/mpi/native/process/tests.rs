//! One process over a library that is played: what it reports is written down beforehand, so that
//! orders and errors come which a real one shows once in a million runs.

use super::super::super::abi::Family;
use super::*;
use dunlin_disk::BufferPool;
use std::cell::RefCell;
use std::ffi::c_char;
use std::sync::Arc;

/// Each test has a thread of its own, and so a library of its own.
#[derive(Default)]
struct Fake {
    /// Requests so far; the first one is 1.
    started: c_int,
    /// What the next looks report, in this order.
    endings: Vec<Ending>,
    /// What the next look returns, if it fails as a whole.
    broken: Option<c_int>,
    /// Requests that are given up without being reported.
    vanishing: Vec<c_int>,
    /// Looks fail although nothing that they report has.
    unsaid: bool,
    cancelled: Vec<c_int>,
    freed: Vec<c_int>,
    finalized: bool,
}

#[derive(Clone, Copy)]
struct Ending {
    request: c_int,
    source: c_int,
    count: c_int,
    code: c_int,
    cancelled: bool,
    /// The request is left to its owner.
    left: bool,
}

thread_local! {
    static FAKE: RefCell<Fake> = RefCell::default();
}

fn fake<T>(act: impl FnOnce(&mut Fake) -> T) -> T {
    FAKE.with_borrow_mut(act)
}

fn ended(request: c_int) -> Ending {
    Ending { request, source: 1, count: request, code: SUCCESS, cancelled: false, left: false }
}

/// Codes of this library are its own; the class is what stands in the lowest seven bits.
const OWN: c_int = 0x0700;

const NULL: c_int = 0x2c00_0000;

/// The class of a message that is longer than its buffer.
const TRUNCATE: c_int = 14;

extern "C" fn start(request: *mut c_int) -> c_int {
    let number = fake(|fake| {
        fake.started += 1;
        fake.started
    });
    // SAFETY: the caller gives the place of one request.
    unsafe { request.write(number) };
    SUCCESS
}

extern "C" fn isend(
    _: *const c_void,
    _: c_int,
    _: c_int,
    _: c_int,
    _: c_int,
    _: c_int,
    request: *mut c_int,
) -> c_int {
    start(request)
}

extern "C" fn irecv(
    _: *mut c_void,
    _: c_int,
    _: c_int,
    _: c_int,
    _: c_int,
    _: c_int,
    request: *mut c_int,
) -> c_int {
    start(request)
}

extern "C" fn testsome(
    open: c_int,
    requests: *mut c_int,
    count: *mut c_int,
    indices: *mut c_int,
    statuses: *mut c_void,
) -> c_int {
    let stride = Family::Mpich.abi().status_stride;
    fake(|fake| {
        // SAFETY: the caller gives the places that `MPI_Testsome` asks for.
        let requests = unsafe { std::slice::from_raw_parts_mut(requests, open as usize) };
        let endings = std::mem::take(&mut fake.endings);
        let failed = fake.unsaid || endings.iter().any(|ending| ending.code != SUCCESS);
        let mut reported = 0;
        for ending in endings {
            let index = requests.iter().position(|one| *one == ending.request);
            let Some(index) = index else { continue };
            let fields = [ending.count, c_int::from(ending.cancelled), ending.source, 0];
            // The error is set only where the look as a whole has failed.
            let error = failed.then_some(ending.code);
            // SAFETY: as above; each of the requests has room for an index and a status.
            unsafe {
                indices.add(reported).write(index as c_int);
                let status = statuses.byte_add(reported * stride).cast::<c_int>();
                for (at, field) in fields.into_iter().chain(error).enumerate() {
                    status.add(at).write(field);
                }
            }
            reported += 1;
            if !ending.left {
                requests[index] = NULL;
            }
        }
        let code = if failed { OWN | Family::Mpich.abi().err_in_status } else { SUCCESS };
        for request in requests.iter_mut() {
            if fake.vanishing.contains(request) {
                *request = NULL;
            }
        }
        let nothing = reported == 0 && requests.iter().all(|request| *request == NULL);
        let found = if nothing { Family::Mpich.abi().undefined } else { reported as c_int };
        // SAFETY: as above.
        unsafe { count.write(found) };
        fake.broken.take().unwrap_or(code)
    })
}

extern "C" fn cancel(request: *mut c_int) -> c_int {
    // SAFETY: the caller gives the place of one request.
    fake(|fake| fake.cancelled.push(unsafe { request.read() }));
    SUCCESS
}

extern "C" fn request_free(request: *mut c_int) -> c_int {
    // SAFETY: the caller gives the place of one request.
    fake(|fake| fake.freed.push(unsafe { request.replace(NULL) }));
    SUCCESS
}

extern "C" fn get_count(status: *const c_void, _: c_int, count: *mut c_int) -> c_int {
    // SAFETY: the caller gives a status that `testsome` wrote.
    unsafe { count.write(status.cast::<c_int>().read()) };
    SUCCESS
}

extern "C" fn test_cancelled(status: *const c_void, flag: *mut c_int) -> c_int {
    // SAFETY: the caller gives a status that `testsome` wrote.
    unsafe { flag.write(status.cast::<c_int>().add(1).read()) };
    SUCCESS
}

extern "C" fn error_class(code: c_int, class: *mut c_int) -> c_int {
    // SAFETY: the caller gives the place of one number.
    unsafe { class.write(code & 0x7f) };
    SUCCESS
}

extern "C" fn error_string(code: c_int, text: *mut c_char, len: *mut c_int) -> c_int {
    let words = format!("class {}\0", code & 0x7f);
    // SAFETY: the caller gives room for far more than this.
    unsafe {
        std::ptr::copy_nonoverlapping(words.as_ptr().cast(), text, words.len());
        len.write(words.len() as c_int - 1);
    }
    SUCCESS
}

extern "C" fn finalize() -> c_int {
    fake(|fake| fake.finalized = true);
    SUCCESS
}

extern "C" fn init_thread(
    _: *mut c_int,
    _: *mut *mut *mut c_char,
    _: c_int,
    _: *mut c_int,
) -> c_int {
    SUCCESS
}

extern "C" fn comm_number(_: c_int, _: *mut c_int) -> c_int {
    SUCCESS
}

extern "C" fn comm_set_errhandler(_: c_int, _: c_int) -> c_int {
    SUCCESS
}

extern "C" fn comm_get_attr(_: c_int, _: c_int, _: *mut c_void, _: *mut c_int) -> c_int {
    SUCCESS
}

fn process() -> Process<c_int> {
    let calls = Calls {
        init_thread,
        finalize,
        comm_rank: comm_number,
        comm_size: comm_number,
        comm_dup: comm_number,
        comm_set_errhandler,
        comm_get_attr,
        isend,
        irecv,
        testsome,
        cancel,
        test_cancelled,
        get_count,
        request_free,
        error_class,
        error_string,
    };
    let mut process = Process::unstarted(calls, Family::Mpich.abi(), [0, NULL, 0], String::new());
    process.size = 4;
    process
}

fn pool() -> Arc<BufferPool> {
    BufferPool::new(1 << 20)
}

/// Posts a receive whose buffer says which one it is.
fn post(process: &mut Process<c_int>, pool: &Arc<BufferPool>) -> OperationId {
    let mut buffer = pool.take(100);
    let number = process.next_id as u8;
    buffer.bytes_mut().fill(number);
    process.receive(Lane::Control, None, 0, buffer).expect("a receive")
}

/// Looks once: how each operation ended, as text.
fn look(process: &mut Process<c_int>) -> String {
    let mut done = Vec::new();
    process.check();
    process.poll(&mut done).expect("a look");
    process.check();
    let texts = done.into_iter().map(|done| match done {
        Done::Sent { id } => format!("{} sent", id.0),
        Done::Received { id, from, buffer, len } => {
            assert_eq!(u64::from(buffer.as_ref()[0]), id.0, "somebody else's buffer");
            format!("{} received {len} from {from}", id.0)
        }
        Done::Cancelled { id } => format!("{} cancelled", id.0),
        Done::Failed { id, error } => format!("{} failed: {error}", id.0),
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn whatever_ends_first_each_operation_ends_once_and_with_its_own_buffer() {
    const OPEN: c_int = 6;
    let pool = pool();
    for first in 0..1_u32 << OPEN {
        for backwards in [false, true] {
            fake(|fake| *fake = Fake::default());
            let mut process = process();
            for _ in 0..OPEN {
                post(&mut process, &pool);
            }
            let (mut now, mut later): (Vec<c_int>, Vec<c_int>) =
                (1..=OPEN).partition(|request| first >> (request - 1) & 1 == 1);
            for requests in [&mut now, &mut later] {
                if backwards {
                    requests.reverse();
                }
                fake(|fake| fake.endings = requests.iter().copied().map(ended).collect());
                requests.sort_unstable();
                let wanted: Vec<String> = requests
                    .iter()
                    .map(|request| format!("{} received {request} from 1", request - 1))
                    .collect();
                assert_eq!(look(&mut process), wanted.join("\n"), "{first:b} {backwards}");
            }
            assert_eq!(process.open(), 0);
        }
    }
}

#[test]
fn a_message_that_is_too_long_fails_alone() {
    let pool = pool();
    // Some libraries free the request of what failed, others leave that to its owner.
    for left in [false, true] {
        fake(|fake| *fake = Fake::default());
        let mut process = process();
        for _ in 0..3 {
            post(&mut process, &pool);
        }
        let code = OWN | TRUNCATE;
        fake(|fake| fake.endings = vec![Ending { code, left, ..ended(1) }, ended(3)]);
        let wanted = format!("0 failed: MPI_Irecv: class 14 (error {code})\n2 received 3 from 1");
        assert_eq!(look(&mut process), wanted);
        assert_eq!(fake(|fake| fake.freed.clone()), if left { vec![1] } else { vec![] });
        fake(|fake| fake.endings = vec![ended(2)]);
        assert_eq!(look(&mut process), "1 received 2 from 1", "an old error does not stay");
    }
}

#[test]
fn what_a_library_gives_up_unsaid_fails_and_does_not_stay_open() {
    let pool = pool();
    let mut process = process();
    for _ in 0..3 {
        post(&mut process, &pool);
    }
    let code = OWN | TRUNCATE;
    fake(|fake| {
        fake.endings = vec![Ending { code, ..ended(1) }];
        fake.vanishing = vec![2];
    });
    let found = look(&mut process);
    assert!(
        found.ends_with(
            "1 failed: MPI_Irecv: the library gave the operation up without a word \
                             (error 15)"
        ),
        "{found}"
    );
    assert_eq!(process.open(), 1);

    // With nothing reported at all, among others that stay.
    post(&mut process, &pool);
    fake(|fake| (fake.vanishing, fake.unsaid) = (vec![3], true));
    let found = look(&mut process);
    assert!(found.starts_with("2 failed: MPI_Irecv: the library gave"), "{found}");
    assert_eq!(process.open(), 1);

    // The last one too, and without an error.
    fake(|fake| (fake.vanishing, fake.unsaid) = (vec![4], false));
    let found = look(&mut process);
    assert!(found.starts_with("3 failed: MPI_Irecv: the library gave"), "{found}");
    assert_eq!(process.open(), 0);
}

#[test]
fn a_process_that_has_met_nobody_is_found_out() {
    for (found, launched, wanted) in [
        ((0, 1), (Some(0), Some(4)), false),
        ((0, 1), (Some(2), Some(4)), false),
        ((2, 4), (Some(2), Some(4)), true),
        ((0, 1), (Some(0), Some(1)), true),
        // Some launchers do not say how many they have started, and some processes have none.
        ((0, 1), (Some(2), None), false),
        ((2, 4), (Some(2), None), true),
        ((0, 1), (Some(0), None), true),
        ((0, 1), (None, None), true),
        // A library may give the ranks another order.
        ((1, 4), (Some(2), Some(4)), true),
    ] {
        assert_eq!(met(found, launched), wanted, "{found:?} {launched:?}");
    }
}

#[test]
fn a_library_that_fails_as_a_whole_is_an_error() {
    let pool = pool();
    let mut process = process();
    post(&mut process, &pool);
    fake(|fake| fake.broken = Some(OWN | 5));
    let error = process.poll(&mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), format!("MPI_Testsome: class 5 (error {})", OWN | 5));
    assert_eq!(process.open(), 1, "its buffer may still be written");
}

#[test]
fn a_cancelled_receive_ends_either_way() {
    let pool = pool();
    let mut process = process();
    let first = post(&mut process, &pool);
    let second = post(&mut process, &pool);
    let third = process.send(Lane::Data, 3, 7, Bytes::from_static(b"abc")).expect("a send");
    for id in [third, first, second, first, OperationId(99)] {
        process.cancel(id);
    }
    assert_eq!(fake(|fake| fake.cancelled.clone()), [1, 2], "each once, and no send");
    assert_eq!(look(&mut process), "", "asking alone ends nothing");
    fake(|fake| {
        let cancelled = |request| Ending { cancelled: true, ..ended(request) };
        fake.endings = vec![cancelled(1), ended(2), ended(3)];
    });
    assert_eq!(look(&mut process), "0 cancelled\n1 received 2 from 1\n2 sent");
}

#[test]
fn what_no_message_can_have_is_refused_before_the_library_sees_it() {
    let mut process = process();
    let long = Bytes::from(vec![0; 1 << 31]);
    let short = Bytes::new;
    let pool = pool();
    for (found, wanted) in [
        (
            process.send(Lane::Data, 1, 0, long),
            "MPI_Isend: 2147483648 bytes are more than one message can have (2147483647) (error 2)",
        ),
        (
            process.send(Lane::Data, 1, 32_768, short()),
            "MPI_Isend: tag 32768 is above 32767, the highest that every library has (error 4)",
        ),
        (
            process.send(Lane::Data, 4, 0, short()),
            "MPI_Isend: there is no rank 4; the job has 4 (error 6)",
        ),
        (
            process.receive(Lane::Data, Some(u32::MAX), 0, pool.take(1)),
            "MPI_Irecv: there is no rank 4294967295; the job has 4 (error 6)",
        ),
    ] {
        assert_eq!(found.unwrap_err().to_string(), wanted);
    }
    assert_eq!((process.open(), fake(|fake| fake.started)), (0, 0));
    assert!(process.send(Lane::Data, 3, MAX_TAG, short()).is_ok(), "empty messages are messages");
}

#[test]
fn buffers_that_the_library_may_still_write_are_never_freed() {
    let pool = pool();
    // Dropped: everything that is open stays where it is.
    let mut dropped = process();
    post(&mut dropped, &pool);
    post(&mut dropped, &pool);
    drop(dropped);
    assert_eq!(pool.waiting(), 0);
    assert!(!fake(|fake| fake.finalized));

    // Ended: what is cancelled comes back, what is stuck does not.
    fake(|fake| *fake = Fake::default());
    let mut ending = process();
    post(&mut ending, &pool);
    post(&mut ending, &pool);
    fake(|fake| fake.endings = vec![Ending { cancelled: true, ..ended(2) }]);
    assert_eq!(ending.finalize_within(Duration::ZERO), Ok(1));
    assert_eq!(pool.waiting(), 4096);
    assert!(fake(|fake| fake.finalized));
    assert_eq!(fake(|fake| fake.cancelled.clone()), [1, 2]);
}
