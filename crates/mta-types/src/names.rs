//! Names given by configuration and scripts, each a type of its own so that they cannot be mixed.
//!
//! They are cheap to clone (a shared string), because every queued row carries several.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name as it stands.
            #[must_use]
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The name's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Shares the name's text.
            #[must_use]
            pub fn to_shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// Which way out: the id of a transport in the running configuration.
    TransportId
);
name!(
    /// The virtual server that accepted a message.
    ServerId
);
name!(
    /// Correlation given by a script when it queues.
    JobId
);
name!(
    /// Tenant given by a script when it queues.
    TenantId
);
name!(
    /// Set of remote hosts that policies treat alike.
    Grouping
);
name!(
    /// Word that a policy or suspension carries to the post-delivery script.
    Tag
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_by_their_text() {
        let mut table = std::collections::HashMap::new();
        table.insert(TransportId::new("mx"), 1);
        assert_eq!(table.get("mx"), Some(&1));
        assert_eq!(TransportId::from("mx").to_string(), "mx");
    }
}
