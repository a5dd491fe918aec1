//! A bounded number of calls at a time, and a fair one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for calls that may hang: so many in all, and so many for one party (a namespace), so
/// that no webhook that hangs can take every place.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    for_each_party: usize,
    parties: Mutex<BTreeMap<String, Weak<Semaphore>>>,
}

/// A taken place; free again when dropped.
#[derive(Debug)]
pub struct Place {
    _party: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

impl Places {
    /// `all` places, of which one party gets at most `for_each_party`.
    pub fn new(all: usize, for_each_party: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), for_each_party, parties: Mutex::default() }
    }

    /// Waits for a place. Who waits for a place of its party holds none of the common ones.
    pub async fn take(&self, party: &str) -> Place {
        let party = self.party(party);
        // Both end with an error only when somebody closes the semaphore, which nobody does.
        let of_party = party.acquire_owned().await.ok();
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok();
        Place { _party: of_party, _all: of_all }
    }

    fn party(&self, name: &str) -> Arc<Semaphore> {
        let mut parties = self.parties.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parties.get(name).and_then(Weak::upgrade) {
            return known;
        }
        parties.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(self.for_each_party));
        parties.insert(name.to_owned(), Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::Places;

    #[test]
    fn a_party_that_hangs_leaves_places_for_the_others() {
        let places = Places::new(3, 2);
        let first = places.take("hangs").now_or_never().unwrap();
        let _second = places.take("hangs").now_or_never().unwrap();
        assert!(places.take("hangs").now_or_never().is_none());
        let _other = places.take("works").now_or_never().unwrap();
        assert!(places.take("works").now_or_never().is_none(), "three places in all");
        drop(first);
        assert!(places.take("hangs").now_or_never().is_some());
    }

    #[test]
    fn parties_without_calls_are_forgotten() {
        let places = Places::new(3, 2);
        for party in 0..100 {
            drop(places.take(&party.to_string()).now_or_never().unwrap());
        }
        assert_eq!(places.parties.lock().unwrap().len(), 1);
    }
}
