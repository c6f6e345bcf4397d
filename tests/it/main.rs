//! All integration tests in one binary: they run the program as a user does, on pictures that ship with the project.

mod architecture;
mod bad_files;
mod classifiers;
mod cli;
mod commands;
mod drawn;
mod duplicates;
mod foreign_files;
mod hostile_files;
mod inputs;
mod models;
mod networks;
mod pipelines;
mod precision;
mod predict;
mod restart;
mod resume;
mod support;
mod tables;
mod weights_store;
mod zoo;
