//! The defects made on purpose. That each is found, by the rule that it breaks, is for `headgate-sim --defects --seeds 2000`,
//! which CI runs with optimisation: there are many worlds to try.

use headgate_sim::Defect;

#[test]
fn every_defect_has_a_name_by_which_it_can_be_asked_for() {
    for defect in Defect::ALL {
        assert_eq!(Defect::named(&format!("{defect:?}")), Some(defect));
    }
    assert_eq!(Defect::named("None"), None);
}
