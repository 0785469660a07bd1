"""The three modules of the paper (EC3, CQE, uniM3) and the pipeline that runs them over a store."""
