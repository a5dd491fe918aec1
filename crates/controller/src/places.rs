//! A bounded number of calls at a time, and a fair one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

/// Places for calls that may hang: so many in all, and so many for one party (a namespace), so
/// that no webhook that hangs can take every place. Several that hang can: so each party has one place of its own beside
/// them, for who has waited too long.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    for_each_party: usize,
    patience: Duration,
    parties: Mutex<BTreeMap<String, Weak<Party>>>,
}

#[derive(Debug)]
struct Party {
    /// Its share of all places, its own included.
    share: Arc<Semaphore>,
    /// The one that no other party can take.
    own: Arc<Semaphore>,
}

/// A taken place; free again when dropped.
#[derive(Debug)]
pub struct Place {
    _party: Arc<Party>,
    _share: Option<OwnedSemaphorePermit>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// `all` places, of which one party gets at most `for_each_party`, and for each party one more, for who has waited for
    /// `patience`. A crowd that moves needs none of them: they must not let all parties in at once.
    pub fn new(all: usize, for_each_party: usize, patience: Duration) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), for_each_party, patience, parties: Mutex::default() }
    }

    /// Waits for a place. Who waits for a place of its party holds none of the common ones.
    pub async fn take(&self, party: &str) -> Place {
        let party = self.party(party);
        // These end with an error only when somebody closes the semaphore, which nobody does.
        let share = Arc::clone(&party.share).acquire_owned().await.ok();
        let own = async {
            sleep(self.patience).await;
            Arc::clone(&party.own).acquire_owned().await
        };
        let place = select! {
            biased;
            place = Arc::clone(&self.all).acquire_owned() => place.ok(),
            place = own => place.ok(),
        };
        Place { _party: party, _share: share, _place: place }
    }

    fn party(&self, name: &str) -> Arc<Party> {
        let mut parties = self.parties.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parties.get(name).and_then(Weak::upgrade) {
            return known;
        }
        parties.retain(|_, party| party.strong_count() > 0);
        let (share, own) = (Semaphore::new(self.for_each_party), Semaphore::new(1));
        let party = Arc::new(Party { share: Arc::new(share), own: Arc::new(own) });
        parties.insert(name.to_owned(), Arc::downgrade(&party));
        party
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::time::{Instant, timeout};

    use super::Places;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_party_that_hangs_leaves_places_for_the_others() {
        let places = Places::new(3, 2, PATIENCE);
        let first = places.take("hangs").now_or_never().unwrap();
        let _second = places.take("hangs").now_or_never().unwrap();
        assert!(places.take("hangs").now_or_never().is_none());
        let _other = places.take("works").now_or_never().unwrap();
        assert!(places.take("works").now_or_never().is_none(), "three places in all");
        drop(first);
        assert!(places.take("hangs").now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn where_several_parties_hang_each_of_the_others_has_one_place_of_its_own() {
        let places = Places::new(3, 2, PATIENCE);
        let _hang = [places.take("a").await, places.take("a").await, places.take("b").await];
        for party in ["c", "d"] {
            let started = Instant::now();
            let first = places.take(party).await;
            assert_eq!(started.elapsed(), PATIENCE);
            let second = timeout(PATIENCE * 10, places.take(party)).await;
            assert!(second.is_err(), "one, and not more");
            drop(first);
            let _next = places.take(party).await;
        }
    }

    #[test]
    fn parties_without_calls_are_forgotten() {
        let places = Places::new(3, 2, PATIENCE);
        for party in 0..100 {
            drop(places.take(&party.to_string()).now_or_never().unwrap());
        }
        assert_eq!(places.parties.lock().unwrap().len(), 1);
    }
}
