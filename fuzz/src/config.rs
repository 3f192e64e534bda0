//! What the fuzz target of `crates/config` does with its input.
//!
//! A plain function, so that the corpus also runs as an ordinary test
//! (`crates/config/tests/fuzz_corpus.rs`). A broken promise panics.

use config::Diagnostic;

/// Every loader takes the text or says what is wrong with it, at a place, and the complaint can be
/// shown.
pub(crate) fn yaml(text: &[u8]) {
    let findings: [Option<Vec<Diagnostic>>; 5] = [
        config::load_startup(text, "smtpd.yaml").err(),
        config::load_running(text, "smtpd-app.yaml").err(),
        config::load_policy(text, "smtpd-policy.yaml").err(),
        config::load_suspend(text, "smtpd-suspend.yaml").err(),
        config::load_delivery(text, "smtpd-delivery.yaml").err(),
    ];
    for findings in findings.into_iter().flatten() {
        assert!(!findings.is_empty(), "refused without a reason");
        for finding in findings {
            assert!(!finding.render(&String::from_utf8_lossy(text)).is_empty());
        }
    }
}
