//! All integration tests in one binary: they run the program as a user does, on pictures that ship with the project.

mod architecture;
mod bad_files;
mod checkpoints;
mod classifiers;
mod cli;
mod commands;
mod drawn;
mod duplicates;
mod hostile_files;
mod init;
mod inputs;
mod integrity;
mod models;
mod networks;
mod outputs;
mod pipelines;
mod precision;
mod predict;
mod report;
mod resources;
mod resume;
mod support;
mod tables;
mod weights_store;
mod zoo;
