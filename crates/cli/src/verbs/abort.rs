//! `abort`.

use super::Context;
use super::steer::{Unobserved, steer};
use crate::Outcome;
use crate::explain::causes;
use crate::intent;
use crate::target::{TargetKind, targets};
use anyhow::Result;
use clap::Args;

/// Stop the release and give all traffic back to the stable version
#[derive(Args, Debug)]
#[command(
    after_help = "The spec keeps the new version: start it again with `retry`, go back for good with `undo`, \
or release something else.

Examples:
  kubectl headgate abort shop
  kubectl headgate abort shop cart"
)]
pub(crate) struct Abort {
    /// The rollouts
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Abort {
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Outcome> {
        let mut outcome = Outcome::Done;
        for target in targets(&self.names, &[TargetKind::Rollout])? {
            // What keeps one from going back must not keep the others.
            if let Err(error) = steer(context, &target.name, Unobserved::GoOn, "aborted", intent::abort).await
            {
                context.output.note(&format!("Error: {}", causes(&error)));
                outcome = Outcome::Unwell;
            }
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;
    use crate::output::streams::said;
    use crate::program::Program;
    use crate::scripted::{Server, cluster};
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    #[tokio::test(start_paused = true)]
    async fn of_several_each_is_aborted_that_can_be() {
        // Three names for one Rollout, which is aborted already by the time of the second.
        let mut server = Server::new(&json!({}), &json!({ "stableRS": "old" }));
        server.rollout["metadata"]["generation"] = json!(4);
        let server = Arc::new(Mutex::new(server));
        let output = Output::plain();
        let context = Context { cluster: cluster(&server), program: Program::Headgate, output: &output };
        let names = ["shop", "cart", "till"].map(str::to_owned).to_vec();
        assert_eq!(Abort { names }.run(&context).await.unwrap(), Outcome::Unwell);
        let told = said();
        assert!(told.starts_with("rollout 'shop' aborted\nWarning: "), "{told}");
        assert_eq!(told.matches("Error: the controller has not looked at").count(), 2, "{told}");
        assert_eq!(server.lock().unwrap().patches, [r#"{"status":{"abort":true}}"#]);
    }
}
