//! Everything that an object has been from one moment on, and when. Who only looks now and then misses what comes and goes
//! again.

use crate::cluster::PATIENCE;
use crate::shop::Shop;
use anyhow::{Context, bail};
use futures::TryStreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;
use std::fmt::Debug;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Something that an object has been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// Since this resourceVersion: its place in the order of all writes.
    pub version: u64,
    /// When that was seen.
    pub at: Instant,
    /// What it was.
    pub what: T,
}

/// Watches one object until it is dropped.
pub struct Chronicle<T> {
    seen: watch::Receiver<Vec<Entry<T>>>,
    watch: JoinHandle<anyhow::Result<()>>,
}

impl<T: Clone + Debug + PartialEq + Send + Sync + 'static> Chronicle<T> {
    /// Begins with what the object is now, as `read` sees it; what it goes on to be is noted once.
    ///
    /// # Errors
    /// When the object is not there in time.
    pub async fn begin(
        shop: &Shop,
        kind: &str,
        name: &str,
        read: impl Fn(&Value) -> T + Send + 'static,
    ) -> anyhow::Result<Self> {
        let selector = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let objects = watcher(shop.cluster.api(kind, &shop.namespace), selector);
        let objects = objects.default_backoff().applied_objects();
        let (sender, seen) = watch::channel(Vec::new());
        let watch = tokio::spawn(async move {
            let mut objects = std::pin::pin!(objects);
            while let Some(object) = objects.try_next().await? {
                let object = serde_json::to_value(object)?;
                let version = object["metadata"]["resourceVersion"].as_str().context("no resourceVersion")?;
                let entry = Entry { version: version.parse()?, at: Instant::now(), what: read(&object) };
                sender.send_if_modified(|entries| note(entries, entry));
            }
            bail!("the watch ended")
        });
        let mut chronicle = Self { seen, watch };
        chronicle.until(&format!("{kind} {name} is there"), |_| true).await?;
        Ok(chronicle)
    }

    /// Waits until the object is as it is `wanted`, and gives back what it has been up to then.
    ///
    /// # Errors
    /// When it is not in time, with what it has been instead.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&T) -> bool) -> anyhow::Result<Vec<Entry<T>>> {
        let is_so = |entries: &Vec<Entry<T>>| entries.last().is_some_and(|entry| wanted(&entry.what));
        let found = tokio::time::timeout(PATIENCE, self.seen.wait_for(is_so)).await;
        match found.map(|entries| entries.map(|entries| entries.clone())) {
            Ok(entries) => entries.with_context(|| format!("{what}: the watch has failed")),
            Err(_) => bail!("not within {PATIENCE:?}: {what}; it has been {:?}", values(&self.seen.borrow())),
        }
    }
}

impl<T> Drop for Chronicle<T> {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// What it has been, one after the other.
pub fn values<T: Clone>(entries: &[Entry<T>]) -> Vec<T> {
    entries.iter().map(|entry| entry.what.clone()).collect()
}

/// Adds what is another thing than before.
fn note<T: PartialEq>(entries: &mut Vec<Entry<T>>, entry: Entry<T>) -> bool {
    let is_new = entries.last().is_none_or(|last| last.what != entry.what);
    if is_new {
        entries.push(entry);
    }
    is_new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_the_same_is_noted_once_and_what_comes_back_again() {
        let mut entries = Vec::new();
        for (version, what) in [(1, 75), (2, 75), (3, 50), (4, 75)] {
            note(&mut entries, Entry { version, at: Instant::now(), what });
        }
        assert_eq!(values(&entries), [75, 50, 75]);
        assert_eq!(entries[1].version, 3);
    }
}
