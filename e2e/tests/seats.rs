//! Who may use the cluster at the same time. All tests wait here from the beginning, and those that share it come first: one
//! that needs it alone would keep everybody from coming in until the last one has left.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// So many tests share the cluster. More than there are cores, because they wait most of the time; with more than these,
/// pods start late on a slow machine.
const SEATS: u32 = 4;

/// What a test does to the others, in the order in which they are let in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// One that takes minutes: first, so that it is not the one that all wait for.
    Long,
    /// Beside one other.
    Restless,
    /// Beside any other.
    Shared,
    /// Beside nobody.
    Alone,
}

impl Kind {
    fn seats(self) -> u32 {
        match self {
            Self::Long | Self::Shared => 1,
            Self::Restless => SEATS - 1,
            Self::Alone => SEATS,
        }
    }
}

struct Room {
    free: u32,
    /// By kind, then by arrival.
    waiting: BTreeSet<(Kind, u32)>,
    arrivals: u32,
}

impl Room {
    /// The first one for whom there is room.
    fn next(&self) -> Option<(Kind, u32)> {
        self.waiting.iter().find(|(kind, _)| kind.seats() <= self.free).copied()
    }
}

static ROOM: Mutex<Room> = Mutex::new(Room { free: SEATS, waiting: BTreeSet::new(), arrivals: 0 });

/// Somebody came, was let in or left.
static CHANGED: Notify = Notify::const_new();

fn room() -> MutexGuard<'static, Room> {
    // No test fails while it holds the lock.
    ROOM.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until there is room for a test of this kind.
pub(crate) async fn take(kind: Kind) -> Taken {
    let ticket = {
        let mut room = room();
        room.arrivals += 1;
        let ticket = (kind, room.arrivals);
        room.waiting.insert(ticket);
        ticket
    };
    loop {
        // From here on no change is missed.
        let changed = CHANGED.notified();
        if is_let_in(ticket) {
            CHANGED.notify_waiters();
            return Taken { kind, since: Instant::now() };
        }
        changed.await;
    }
}

fn is_let_in(ticket: (Kind, u32)) -> bool {
    let mut room = room();
    if room.next() != Some(ticket) {
        return false;
    }
    room.waiting.remove(&ticket);
    room.free -= ticket.0.seats();
    true
}

/// Gives the seats back at the end, and tells how long they were taken: what makes the whole run long is seen here.
pub(crate) struct Taken {
    kind: Kind,
    since: Instant,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let seats = self.kind.seats();
        room().free += seats;
        CHANGED.notify_waiters();
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let seconds = self.since.elapsed().as_secs();
        headgate_e2e::pressure::tell(&format!("{test}: {seconds} s in {seats} of {SEATS} seats"));
    }
}
