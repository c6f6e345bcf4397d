//! Python's symbols come from the interpreter that loads the module; linkers of some systems must be told so.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
