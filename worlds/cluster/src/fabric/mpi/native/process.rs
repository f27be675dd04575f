//! One process of an MPI job: its communicators and everything that it has started to send or
//! receive. It owns each buffer from the start of the operation to its end, and never frees one
//! that the library may still read or write.
//!
//! One thing is not in its hands: what comes in must not be longer than the buffer that was posted
//! for it. The standard makes that an error, and so it is reported; but Open MPI (4.1 and 5.0,
//! between ranks of one machine and over TCP) writes a long message beyond the end of the buffer
//! before it says so. Every sender is this same program, and sends no more than it was asked for.
//!
//! Invariants: `requests` and `operations` are equally long, the request and the operation at one
//! index belong together, and no request in between two calls is the null request.

use super::super::abi::{Abi, SUCCESS};
use super::super::library::Library;
use super::super::transport::{Done, Lane, MAX_TAG, OperationId, TransportError};
use super::StartError;
use super::calls::{Calls, Handle, Statuses};
use crate::fabric::process::launcher::Launcher;
use bytes::Bytes;
use dunlin_disk::Buffer;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::thread;
use std::time::{Duration, Instant};

/// How long the end waits for what is open. A receive that is cancelled ends at once if nothing has
/// matched it; it, like a send, ends when its bytes have moved otherwise, or not at all.
const FINALIZE_WAIT: Duration = Duration::from_secs(2);
/// Between two polls while the end waits.
const FINALIZE_NAP: Duration = Duration::from_millis(1);

/// A process of the job. `H` is what handles are.
pub(super) struct Process<H> {
    calls: Calls<H>,
    abi: &'static Abi,
    version: String,
    rank: u32,
    size: u32,
    /// In the order of [`Lane::ALL`].
    lanes: [H; Lane::ALL.len()],
    byte: H,
    request_null: H,
    requests: Vec<H>,
    operations: Vec<Operation>,
    next_id: u64,
    /// What a poll finds, kept so that the next one need not allocate.
    indices: Vec<c_int>,
    statuses: Statuses,
    ended: Vec<(usize, Option<usize>)>,
    /// The thread that starts MPI makes all calls.
    one_thread: PhantomData<*mut ()>,
}

/// Something that was started.
struct Operation {
    id: OperationId,
    payload: OperationBuffer,
    cancelled: bool,
}

/// What the library reads or writes until the operation ends.
enum OperationBuffer {
    Send(#[expect(dead_code, reason = "held for the library alone")] Bytes),
    Receive(Buffer),
}

impl OperationBuffer {
    /// The entry point that started the operation.
    fn call(&self) -> &'static str {
        match self {
            OperationBuffer::Send(_) => "MPI_Isend",
            OperationBuffer::Receive(_) => "MPI_Irecv",
        }
    }
}

impl<H: Handle> Process<H> {
    /// Starts MPI; see [`Native::init`](super::Native::init).
    pub(super) fn init(
        library: &Library,
        expected_size: Option<u32>,
    ) -> Result<Process<H>, StartError> {
        let abi = library.abi();
        let fixed = |fixed| H::fixed(fixed, library);
        let (world, errors_return) = (fixed(abi.comm_world)?, fixed(abi.errors_return)?);
        let handles = [fixed(abi.byte)?, fixed(abi.request_null)?, fixed(abi.comm_null)?];
        let version = format!("{} ({})", library.version(), library.name());
        let mut process = Process::unstarted(Calls::find(library)?, abi, handles, version);
        process.start()?;
        // Errors that belong to no communicator are raised at one of these two, and would end the
        // job.
        for comm in [fixed(abi.comm_self)?, world] {
            process.return_errors(comm, errors_return)?;
        }
        process.meet(world, library, expected_size)?;
        process.check_tags(world)?;
        for lane in 0..Lane::ALL.len() {
            let mut comm = process.lanes[lane];
            // SAFETY: the communicator is one, and the library writes one handle.
            let code = unsafe { (process.calls.comm_dup)(world, &raw mut comm) };
            process.calls.check(abi, "MPI_Comm_dup", code)?;
            process.lanes[lane] = comm;
            // A duplicate has the handler of its original by the standard; it costs nothing to be
            // sure.
            process.return_errors(comm, errors_return)?;
        }
        Ok(process)
    }

    /// A process before MPI is started; `handles` are a byte, the null request and the null
    /// communicator.
    fn unstarted(
        calls: Calls<H>,
        abi: &'static Abi,
        [byte, request_null, comm_null]: [H; 3],
        version: String,
    ) -> Process<H> {
        Process {
            calls,
            abi,
            version,
            rank: 0,
            size: 0,
            lanes: [comm_null; Lane::ALL.len()],
            byte,
            request_null,
            requests: Vec::new(),
            operations: Vec::new(),
            next_id: 0,
            indices: Vec::new(),
            statuses: Statuses::new(abi),
            ended: Vec::new(),
            one_thread: PhantomData,
        }
    }

    fn start(&self) -> Result<(), TransportError> {
        let none = std::ptr::null_mut();
        let mut provided = 0;
        // Whatever level the library provides is enough: one thread makes every call.
        let level = self.abi.thread_funneled;
        // SAFETY: both argument pointers may be null since MPI 2.0; the library writes one number.
        let code = unsafe {
            (self.calls.init_thread)(none, std::ptr::null_mut(), level, &raw mut provided)
        };
        if code == SUCCESS {
            return Ok(());
        }
        // A library that has not started may not be asked for the text of an error.
        let text = "the library says no more".to_owned();
        Err(TransportError { call: "MPI_Init_thread", code, text })
    }

    fn return_errors(&self, comm: H, handler: H) -> Result<(), TransportError> {
        // SAFETY: MPI has started, and both are handles of their kind.
        let code = unsafe { (self.calls.comm_set_errhandler)(comm, handler) };
        self.calls.check(self.abi, "MPI_Comm_set_errhandler", code)
    }

    /// Asks for rank and size, and checks them against what the launcher set.
    fn meet(
        &mut self,
        world: H,
        library: &Library,
        expected_size: Option<u32>,
    ) -> Result<(), StartError> {
        let (mut rank, mut size) = (0, 0);
        // SAFETY: MPI has started, and the library writes one number each.
        let code = unsafe { (self.calls.comm_rank)(world, &raw mut rank) };
        self.calls.check(self.abi, "MPI_Comm_rank", code)?;
        // SAFETY: as above.
        let code = unsafe { (self.calls.comm_size)(world, &raw mut size) };
        self.calls.check(self.abi, "MPI_Comm_size", code)?;
        (self.rank, self.size) = (rank.cast_unsigned(), size.cast_unsigned());
        let launcher = library.launcher();
        let expected_rank = launcher.map(|launcher| launcher.rank);
        if met((self.rank, self.size), (expected_rank, expected_size)) {
            return Ok(());
        }
        let expected_rank = expected_rank.map_or_else(|| "?".to_owned(), |rank| rank.to_string());
        // Each process is a job of its own, and leaves it alone.
        // SAFETY: MPI has started, and no call follows.
        unsafe { (self.calls.finalize)() };
        let of = expected_size.map_or_else(String::new, |size| format!(" of {size}"));
        Err(StartError::OtherWorld {
            launcher: launcher.map_or("nobody", Launcher::name),
            launched: format!("{expected_rank}{of}"),
            library: library.name().to_owned(),
            version: library.version().to_owned(),
            rank: self.rank,
            size: self.size,
        })
    }

    fn check_tags(&self, world: H) -> Result<(), StartError> {
        let mut value: *const c_int = std::ptr::null();
        let mut found = 0;
        let place = (&raw mut value).cast::<c_void>();
        // SAFETY: MPI has started; the library writes a pointer to the first place and a number to
        // the second.
        let code =
            unsafe { (self.calls.comm_get_attr)(world, self.abi.tag_ub, place, &raw mut found) };
        self.calls.check(self.abi, "MPI_Comm_get_attr", code)?;
        let known = found != 0 && !value.is_null();
        // SAFETY: the value of this attribute is a pointer to a C int that lives as long as MPI.
        let highest = if known { i64::from(unsafe { value.read() }) } else { -1 };
        if highest < i64::from(MAX_TAG) {
            return Err(StartError::Tags { highest });
        }
        Ok(())
    }

    pub(super) fn library_version(&self) -> &str {
        &self.version
    }

    pub(super) fn rank(&self) -> u32 {
        self.rank
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn open(&self) -> usize {
        self.operations.len()
    }

    pub(super) fn send(
        &mut self,
        lane: Lane,
        to: u32,
        tag: u16,
        data: Bytes,
    ) -> Result<OperationId, TransportError> {
        let (count, tag) = self.limits("MPI_Isend", data.len(), tag)?;
        let to = self.peer("MPI_Isend", to)?;
        let (comm, byte, mut request) = (self.lane(lane), self.byte, self.request_null);
        let from = data.as_ptr().cast::<c_void>();
        // SAFETY: `count` bytes are there, and `keep` holds them until the library is done: shared
        // bytes neither move nor change.
        let code =
            unsafe { (self.calls.isend)(from, count, byte, to, tag, comm, &raw mut request) };
        self.calls.check(self.abi, "MPI_Isend", code)?;
        Ok(self.keep(request, OperationBuffer::Send(data)))
    }

    pub(super) fn receive(
        &mut self,
        lane: Lane,
        from: Option<u32>,
        tag: u16,
        mut buffer: Buffer,
    ) -> Result<OperationId, TransportError> {
        let (count, tag) = self.limits("MPI_Irecv", buffer.as_ref().len(), tag)?;
        let from = match from {
            Some(from) => self.peer("MPI_Irecv", from)?,
            None => self.abi.any_source,
        };
        let (comm, byte, mut request) = (self.lane(lane), self.byte, self.request_null);
        let into = buffer.bytes_mut().as_mut_ptr().cast::<c_void>();
        // SAFETY: `count` bytes are there, and `keep` holds them until the library is done: nobody
        // touches the buffer meanwhile, and its bytes do not move with it. Nobody sends more than
        // `count` bytes to it: see above.
        let code =
            unsafe { (self.calls.irecv)(into, count, byte, from, tag, comm, &raw mut request) };
        self.calls.check(self.abi, "MPI_Irecv", code)?;
        Ok(self.keep(request, OperationBuffer::Receive(buffer)))
    }

    pub(super) fn cancel(&mut self, id: OperationId) {
        let found = self.operations.iter().position(|operation| operation.id == id);
        if let Some(index) = found {
            self.cancel_at(index);
        }
    }

    fn cancel_at(&mut self, index: usize) {
        let (Some(operation), Some(request)) =
            (self.operations.get_mut(index), self.requests.get_mut(index))
        else {
            return;
        };
        // The standard has deprecated to cancel sends (MPI 4.0, section 3.8.4), the libraries
        // ignore it, and MPICH 5.0 crashes. A send ends by itself, or never.
        if operation.cancelled || matches!(operation.payload, OperationBuffer::Send(_)) {
            return;
        }
        operation.cancelled = true;
        // SAFETY: the request is open. A library that cannot cancel it says so and changes nothing,
        // and then the operation ends by itself or never, as if nobody had asked.
        unsafe { (self.calls.cancel)(request) };
    }

    pub(super) fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), TransportError> {
        let open = self.requests.len();
        if open == 0 {
            return Ok(());
        }
        let mut count = 0;
        let requests = self.requests.as_mut_ptr();
        let (indices, statuses) = (self.indices.as_mut_ptr(), self.statuses.first());
        // SAFETY: there are `open` requests, and as many indices and statuses: `keep` makes room.
        // The library writes no more of each, and one number.
        let code = unsafe {
            (self.calls.testsome)(open as c_int, requests, &raw mut count, indices, statuses)
        };
        let failed = code != SUCCESS;
        if failed && self.calls.class(code) != self.abi.err_in_status {
            return self.calls.check(self.abi, "MPI_Testsome", code);
        }
        if count == 0 && !failed {
            return Ok(());
        }
        self.find_ended(count, failed)?;
        let first = done.len();
        self.take_ended(failed, done);
        if let Some(new) = done.get_mut(first..) {
            new.sort_unstable_by_key(id_of);
        }
        Ok(())
    }

    /// Writes down which operations have ended, each with its status, the last one first: taking
    /// one out moves only what stands behind it.
    fn find_ended(&mut self, count: c_int, failed: bool) -> Result<(), TransportError> {
        self.ended.clear();
        let count =
            if count == self.abi.undefined { 0 } else { usize::try_from(count).unwrap_or(0) };
        for (status, index) in self.indices.iter().take(count).enumerate() {
            let index = usize::try_from(*index).ok().filter(|index| *index < self.requests.len());
            let Some(index) = index else {
                let text = "the library says that something ended which was never started";
                let (call, code) = ("MPI_Testsome", self.abi.err_other);
                return Err(TransportError { call, code, text: text.to_owned() });
            };
            self.ended.push((index, Some(status)));
        }
        if failed || count == 0 {
            // After an error a library may have given up more than it reports.
            let reported = self.ended.len();
            for (index, request) in self.requests.iter().enumerate() {
                let known = self.ended.iter().take(reported).any(|(other, _)| *other == index);
                if *request == self.request_null && !known {
                    self.ended.push((index, None));
                }
            }
        }
        self.ended.sort_unstable_by(|one, other| other.cmp(one));
        Ok(())
    }

    fn take_ended(&mut self, failed: bool, done: &mut Vec<Done>) {
        for at in 0..self.ended.len() {
            let (index, status) = self.ended[at];
            let mut request = self.requests.swap_remove(index);
            let operation = self.operations.swap_remove(index);
            if request != self.request_null {
                // SAFETY: the operation has ended with an error, and the library has left the
                // request to us; nobody uses it again.
                unsafe { (self.calls.request_free)(&raw mut request) };
            }
            done.push(self.ending(operation, status, failed));
        }
    }

    /// How an operation ended.
    fn ending(&self, operation: Operation, status: Option<usize>, failed: bool) -> Done {
        let Operation { id, payload, cancelled } = operation;
        let call = payload.call();
        let told = status.and_then(|index| self.statuses.at(index).map(|place| (index, place)));
        let Some((index, place)) = told else {
            let text = "the library gave the operation up without a word".to_owned();
            return Done::Failed {
                id,
                error: TransportError { call, code: self.abi.err_other, text },
            };
        };
        let code = if failed { self.statuses.error(index) } else { SUCCESS };
        if let Err(error) = self.calls.check(self.abi, call, code) {
            return Done::Failed { id, error };
        }
        if cancelled {
            let mut flag = 0;
            // SAFETY: the status is one that the library has written; it writes one number.
            let code = unsafe { (self.calls.test_cancelled)(place, &raw mut flag) };
            if code == SUCCESS && flag != 0 {
                return Done::Cancelled { id };
            }
        }
        let buffer = match payload {
            OperationBuffer::Send(_) => return Done::Sent { id },
            OperationBuffer::Receive(buffer) => buffer,
        };
        let mut count = 0;
        // SAFETY: as above.
        let code = unsafe { (self.calls.get_count)(place, self.byte, &raw mut count) };
        if let Err(error) = self.calls.check(self.abi, "MPI_Get_count", code) {
            return Done::Failed { id, error };
        }
        let from = u32::try_from(self.statuses.source(index)).ok();
        let len = usize::try_from(count).ok().filter(|len| *len <= buffer.as_ref().len());
        match from.zip(len) {
            Some((from, len)) => Done::Received { id, from, buffer, len },
            None => {
                let text = format!("the library says that {count} bytes came from nobody");
                Done::Failed { id, error: TransportError { call, code: self.abi.err_other, text } }
            }
        }
    }

    /// Ends MPI; see [`Native::finalize`](super::Native::finalize).
    pub(super) fn finalize(self) -> Result<usize, TransportError> {
        self.finalize_within(FINALIZE_WAIT)
    }

    /// The number of operations that have not ended `wait` after they were cancelled.
    fn finalize_within(mut self, wait: Duration) -> Result<usize, TransportError> {
        for index in 0..self.operations.len() {
            self.cancel_at(index);
        }
        let end = Instant::now() + wait;
        let mut done = Vec::new();
        loop {
            self.poll(&mut done)?;
            done.clear();
            if self.open() == 0 || Instant::now() >= end {
                break;
            }
            thread::sleep(FINALIZE_NAP);
        }
        let stuck = self.open();
        // SAFETY: MPI has started, and nobody makes another call; what is stuck is given up with
        // `self`.
        let code = unsafe { (self.calls.finalize)() };
        if code == SUCCESS {
            return Ok(stuck);
        }
        // A library that has ended may not be asked for the text of an error.
        let text = "the library says no more".to_owned();
        Err(TransportError { call: "MPI_Finalize", code, text })
    }

    /// Asserts the invariants.
    #[cfg(test)]
    fn check(&self) {
        assert_eq!(self.requests.len(), self.operations.len());
        assert!(self.requests.iter().all(|request| *request != self.request_null));
        assert!(self.indices.len() >= self.requests.len());
        assert!(self.requests.is_empty() || self.statuses.at(self.requests.len() - 1).is_some());
        let ids: std::collections::BTreeSet<OperationId> =
            self.operations.iter().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), self.operations.len());
    }

    fn lane(&self, lane: Lane) -> H {
        match lane {
            Lane::Tracker => self.lanes[0],
            Lane::Control => self.lanes[1],
            Lane::Data => self.lanes[2],
        }
    }

    /// Holds what was started until it ends.
    fn keep(&mut self, request: H, payload: OperationBuffer) -> OperationId {
        let id = OperationId(self.next_id);
        self.next_id += 1;
        self.requests.push(request);
        self.operations.push(Operation { id, payload, cancelled: false });
        let open = self.requests.len();
        if self.indices.len() < open {
            self.indices.resize(open, 0);
            self.statuses.grow(open);
        }
        id
    }

    /// Length and tag as C numbers.
    fn limits(
        &self,
        call: &'static str,
        len: usize,
        tag: u16,
    ) -> Result<(c_int, c_int), TransportError> {
        let count = c_int::try_from(len).map_err(|_| {
            let text = format!("{len} bytes are more than one message can have ({})", c_int::MAX);
            TransportError { call, code: self.abi.err_count, text }
        })?;
        if tag > MAX_TAG {
            let text = format!("tag {tag} is above {MAX_TAG}, the highest that every library has");
            return Err(TransportError { call, code: self.abi.err_tag, text });
        }
        Ok((count, c_int::from(tag)))
    }

    /// A rank as a C number.
    fn peer(&self, call: &'static str, rank: u32) -> Result<c_int, TransportError> {
        let inside = c_int::try_from(rank).ok().filter(|_| rank < self.size);
        inside.ok_or_else(|| {
            let text = format!("there is no rank {rank}; the job has {}", self.size);
            TransportError { call, code: self.abi.err_rank, text }
        })
    }
}

/// Whether rank and size by the library are those by the launcher, as far as it knows them. A
/// library that has connected to no other process is rank 0 of 1.
fn met((rank, size): (u32, u32), (launched, among): (Option<u32>, Option<u32>)) -> bool {
    let as_launched = launched.is_none_or(|launched| launched == rank);
    among.map_or(as_launched, |among| among == size)
}

impl<H> Drop for Process<H> {
    /// The library may still write into what is open, so that is never freed.
    fn drop(&mut self) {
        for operation in self.operations.drain(..) {
            std::mem::forget(operation);
        }
    }
}

fn id_of(done: &Done) -> OperationId {
    match done {
        Done::Sent { id }
        | Done::Received { id, .. }
        | Done::Cancelled { id }
        | Done::Failed { id, .. } => *id,
    }
}

#[cfg(test)]
mod tests;
