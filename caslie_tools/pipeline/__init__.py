"""The paper's three modules, EC3, CQE and uniM3, and the pipeline that runs them over a store."""
