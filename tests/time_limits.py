"""Time limits that nothing reaches unless it hangs, however busy the machine is."""

HANG_SECONDS = 600.0
"""Ends the wait for something that always happens."""

PATIENT = {
    "CASLIE_CAPTIONER_TIMEOUT_SECONDS": str(HANG_SECONDS),
    "CASLIE_JUDGE_TIMEOUT_SECONDS": str(HANG_SECONDS),
    "CASLIE_PREDICTOR_TIMEOUT_SECONDS": str(HANG_SECONDS),
    "CASLIE_BUSY_TIMEOUT_SECONDS": str(HANG_SECONDS),
    "CASLIE_IMAGES__TIMEOUT_SECONDS": str(HANG_SECONDS),
}
"""Environment variables with such limits, for tests with models that do real work."""
