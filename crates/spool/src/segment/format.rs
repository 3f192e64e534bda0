//! The layout of segments and records.

/// Name of a body file: 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BodyName(pub(crate) [u64; 2]);

impl BodyName {
    pub(crate) fn file_name(self) -> String {
        format!("{:016x}{:016x}.body", self.0[0], self.0[1])
    }
}
