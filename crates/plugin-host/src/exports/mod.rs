//! Every `HalonMTA_*` function, grouped as in the header.
//!
//! Each is a fence, references made of C's pointers, and a call of safe code that has the tests.
//! Thread rules, ownership and NULL behaviour of each stand in `include/HalonMTA.h`, which is the
//! reference; the types are checked against `plugin-abi` at compile time.

mod config;
mod deliver;
mod hsl;
mod inject;
mod message;
mod object;
mod queue;
mod value;

/// Defines exports: `fn name(parameters) -> type, or failure => { body }`. The body runs behind the
/// fence; the type of the whole is checked against the table of `plugin-abi`.
macro_rules! exports {
    (@failure) => { () };
    (@failure $failure:expr) => { $failure };
    ($(
        $(#[$attribute:meta])*
        fn $name:ident($($parameter:ident: $type:ty),* $(,)?) $(-> $result:ty, or $failure:expr)? => {
            $($body:tt)*
        }
    )*) => {
        $(
            $(#[$attribute])*
            ///
            /// # Safety
            ///
            /// The caller keeps the rules of `HalonMTA.h` for this function: pointers are NULL where
            /// that is allowed, or what they say they are.
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $name($($parameter: $type),*) $(-> $result)? {
                let failure = exports!(@failure $($failure)?);
                $crate::guard::guard(stringify!($name), failure, || { $($body)* })
            }

            const _: plugin_abi::signatures::$name = $name;
        )*
    };
}

pub(crate) use exports;

/// The exports by name, for the comparison with the table.
#[cfg(test)]
mod tests {
    #[test]
    fn the_list_for_the_linker_names_every_function_of_the_header() {
        let names: Vec<_> = plugin_abi::signatures::functions()
            .iter()
            .map(|function| format!("    {};", function.name))
            .collect();
        let wanted = format!("{{\n{}\n}};\n", names.join("\n"));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/exports.list");
        let found = std::fs::read_to_string(path).unwrap();
        assert_eq!(found, wanted, "exports.list is not what the header declares");
    }
}
