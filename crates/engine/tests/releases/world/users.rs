//! What users do.

use super::{World, pod_template};
use headgate_api::AnalysisPhase;
use headgate_model::{Observed, WorkloadKind, WorkloadRef, WorkloadView};
use serde_json::{Value, json};

impl World {
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        let before = self.snapshot.rollout.spec_raw.clone();
        edit(&mut self.snapshot.rollout.spec_raw);
        if before != self.snapshot.rollout.spec_raw {
            self.snapshot.rollout.generation += 1;
        }
        self.read_spec();
    }

    pub(crate) fn release(&mut self, version: u32) {
        self.edit(|spec| spec["template"] = pod_template(version));
    }

    pub(crate) fn scale(&mut self, replicas: i32) {
        self.edit(|spec| spec["replicas"] = json!(replicas));
    }

    pub(crate) fn pause(&mut self, paused: bool) {
        self.edit(|spec| spec["paused"] = json!(paused));
    }

    pub(crate) fn abort(&mut self) {
        self.snapshot.rollout.status.abort = true;
    }

    pub(crate) fn retry(&mut self) {
        self.snapshot.rollout.status.abort = false;
    }

    /// As the plugin of Argo Rollouts does it.
    pub(crate) fn promote(&mut self) {
        let rollout = &mut self.snapshot.rollout;
        let count = rollout.spec.as_ref().map_or(0, |spec| spec.canary.steps.len());
        let status = &mut rollout.status;
        let inconclusive = status.canary.as_ref().is_some_and(|canary| {
            let run = canary.current_step_analysis_run_status.as_ref();
            run.is_some_and(|run| run.status == Some(AnalysisPhase::Inconclusive))
        });
        let next = status.current_step_index.map(|index| (index + 1).min(i32::try_from(count).unwrap()));
        if inconclusive && !status.pause_conditions.is_empty() && status.controller_pause {
            status.controller_pause = false;
            status.current_step_index = next;
        } else if status.pause_conditions.is_empty() {
            status.current_step_index = next;
        }
        status.pause_conditions.clear();
        if rollout.spec_raw.get("paused") == Some(&json!(true)) {
            self.pause(false);
        }
    }

    pub(crate) fn promote_full(&mut self) {
        let status = &mut self.snapshot.rollout.status;
        if status.current_pod_hash != status.stable_rs {
            status.promote_full = true;
        }
    }

    /// The template comes from a Deployment with so many pods, which gives way as `scale_down` says.
    pub(crate) fn refer_to_deployment(&mut self, replicas: i32, scale_down: &str) {
        let reference = WorkloadRef { kind: WorkloadKind::Deployment, name: "shop".into() };
        let replicas = Some(replicas);
        let deployment = WorkloadView { reference, uid: "deployment-uid".into(), generation: 1, replicas };
        self.snapshot.rollout.workload = Some(Observed::Present(deployment));
        let reference = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop",
            "scaleDown": scale_down });
        self.snapshot.rollout.spec_raw["workloadRef"] = reference;
        self.read_spec();
    }

    pub(crate) fn deployment_mut(&mut self) -> &mut WorkloadView {
        match &mut self.snapshot.rollout.workload {
            Some(Observed::Present(deployment)) => deployment,
            _ => panic!("the world knows its Deployment"),
        }
    }

    /// Pods of the Deployment that the template comes from.
    pub(crate) fn deployment(&self) -> i32 {
        self.snapshot.rollout.workload.as_ref().unwrap().present().unwrap().replicas.unwrap()
    }

    /// The user changes the template of the Deployment: the Rollout itself stays as it is.
    pub(crate) fn release_deployment(&mut self, version: u32) {
        self.snapshot.rollout.spec_raw["template"] = pod_template(version);
        self.deployment_mut().generation += 1;
        self.read_spec();
    }
}
