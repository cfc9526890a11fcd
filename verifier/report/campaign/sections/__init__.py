"""The sections of a campaign's report, one a module, which has it as SECTION."""
