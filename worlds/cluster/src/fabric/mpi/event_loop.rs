//! The MPI thread: the only one that makes calls of MPI. It takes orders, looks at everything that was
//! started, and naps in between: MPI has nothing to sleep on.
//!
//! ```text
//!   orders ─▶ start ─▶ look ─▶ deliver ─▶ flush ─┐
//!      ▲                                         │ nothing happened
//!      └── order, or the nap is over ◀── nap ◀───┘ 50 µs to 1 ms
//! ```

use super::naps::Naps;
use super::station::Station;
use super::transport::{Transport, TransportError};
use crate::fabric::process::carrier::{Order, Told};
use crate::fabric::process::envelope::Parcel;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

/// Orders that are taken before the next look.
const BATCH: usize = 256;
/// Between two sweeps.
const SWEEP: Duration = Duration::from_secs(1);
/// Between two looks at the end.
const LAST_NAP: Duration = Duration::from_micros(50);
/// What waits to be sent at the end may take so long.
const DRAIN: Duration = Duration::from_secs(5);

/// How the thread ended.
#[derive(Debug)]
pub(crate) enum Pumped<T> {
    /// It was told to finish: finalize, or leave it.
    Finish {
        /// The calls of MPI.
        transport: T,
        /// Whether to finalize.
        together: bool,
    },
    /// The library failed.
    Failed(TransportError),
}

/// Runs until it is told to finish, or nobody can tell it any more.
pub(crate) fn pump<T: Transport>(mut station: Station<T>, orders: &Receiver<Order>) -> Pumped<T> {
    match turn(&mut station, orders) {
        Ok(together) => Pumped::Finish { transport: station.transport, together },
        Err(error) => Pumped::Failed(error),
    }
}

fn turn<T: Transport>(
    station: &mut Station<T>,
    orders: &Receiver<Order>,
) -> Result<bool, TransportError> {
    let mut swept = Instant::now();
    let mut naps = Naps::new();
    loop {
        let mut happened = false;
        for _ in 0..BATCH {
            match orders.try_recv() {
                Ok(Order::Finish { together, sent }) => return finish(station, together, &sent),
                Ok(order) => obey(station, order)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
            happened = true;
        }
        happened |= station.poll()?;
        // On a busy machine something happens between any two looks: this must not wait for a pause.
        let now = Instant::now();
        if now.duration_since(swept) >= SWEEP {
            swept = now;
            station.sweep(now);
        }
        station.flush()?;
        if happened {
            naps.found(station.transferring());
            continue;
        }
        match orders.recv_timeout(naps.next(station.transferring())) {
            Ok(Order::Finish { together, sent }) => return finish(station, together, &sent),
            Ok(order) => {
                obey(station, order)?;
                naps.ordered(station.transferring());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        }
    }
}

fn obey<T: Transport>(station: &mut Station<T>, order: Order) -> Result<(), TransportError> {
    match order {
        Order::Frame { to, frame, sent } => return station.send(to, frame, Told::new(sent)),
        Order::Greet(session) => {
            let parcel = Parcel::Session(session);
            (1..station.size()).for_each(|rank| station.pack(rank, &parcel));
        }
        Order::Parcel { to, parcel } => station.pack(to.0, &parcel),
        Order::Deliver(sink) => station.deliver_to(sink),
        Order::Budget(budget) => station.use_budget(budget),
        Order::Lost(rank) => station.lost(rank),
        Order::Quiet => station.be_quiet(),
        // MPI has no links that could be made again.
        Order::Patience(_) | Order::Finish { .. } => {}
    }
    Ok(())
}

/// Sends what waits for those who live; bounded, since one of them may die at this very moment.
fn finish<T: Transport>(
    station: &mut Station<T>,
    together: bool,
    sent: &Sender<()>,
) -> Result<bool, TransportError> {
    let until = Instant::now() + DRAIN;
    station.flush()?;
    while !station.drained() && Instant::now() < until {
        if !station.poll()? {
            std::thread::sleep(LAST_NAP);
        }
        station.flush()?;
    }
    let drained = station.drained();
    tracing::debug!(drained, open = station.transport.open(), "nothing more is sent");
    // Who asked may have stopped waiting.
    let _ = sent.send(());
    Ok(together && drained)
}
