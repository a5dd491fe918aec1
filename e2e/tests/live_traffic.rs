//! A good release and a bad one under live traffic: what `just demo` shows, and what `simulate` has said of it.

use crate::alone;
use headgate_e2e::demo::{self, Programme};

#[tokio::test(flavor = "multi_thread")]
async fn a_good_release_is_promoted_a_bad_one_comes_back_and_no_request_is_lost() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let verdict = demo::run(&cluster, &Programme::default()).await?;
    assert!(verdict.is_good(), "{verdict}");
    crate::simulate::compare(&cluster, &verdict).await?;
    cluster.remove_namespace(demo::NAMESPACE).await
}
