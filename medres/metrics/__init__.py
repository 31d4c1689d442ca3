"""How good is the model, and how sure can we be of that figure?

Labels `y_true` and scores `y_score` in, `Estimate(value, low, high)` out: float64 in torch, on the
device of the scores, exact with ties, patients as the resampling unit. No files, no plots. Every
metric takes one finding, (N,), or several, (N, F), for which it returns a tuple of F figures, with
an `UndefinedEstimate` where the labels do not define one. Labels of NaN are missing: left out.

- `inputs`: what counts as labels and scores; the one place where figures leave the device
- `by_finding`: what lets a metric take several findings and missing labels
- `estimate`: the records that travel on to reports
- `intervals`: Wilson, Clopper-Pearson, normal, patient bootstrap, whose draws are in `resampling`
- `sorted_scores`: one sort, and the counts at every threshold that everything about ranking uses
- `ranking`: AUROC and average precision; `runs`: their resamples at memory speed
- `placements`: the AUROC and its variance, DeLong's, and Obuchowski's for clustered data
- `auroc_intervals`: Newcombe, DeLong, logit-DeLong, the bound at 0 and 1
- `partial_auroc`: over a part of the curve
- `comparison`, `paired_decisions`: two models; `weighted`: metrics for bootstrap differences
- `operating_point`: confusion, sensitivity, specificity, PPV, NPV; choosing a threshold
- `decision_measures`: F1, MCC, likelihood ratios and the like; `decisions`: all of it from rows
- `predictive_values`: PPV and NPV at another prevalence; `proportions`: shares of repeated patients
- `fixed_rate`: sensitivity at a specificity; `three_way`: decisions with an indeterminate band
- `calibration`: expected calibration error, reliability curve; `brier`: the Brier score, its parts
- `calibration_line`: calibration slope, intercept, in the large
- `decision_curve`: net benefit and interventions avoided
- `agreement`: kappa; `multiclass`: classes that exclude one another
- `subgroups`: figures by subgroup, gaps, tests of interaction; `age_bands`
- `model_comparison`: two models, figure by figure and finding by finding
- `sample_size`: what precision n cases give, and how many cases a precision takes
- `recalibration`: temperature, Platt and isotonic scaling, over the fits in `logistic`
- `aggregation`: images to studies to patients
- `finding_rows`: one finding's rows and all its statistics under any resample
- `finding_evaluation`, `finding_details`, `macro`, `micro`, `multiclass`: parts of a report
- `evaluation`: all of it in one call, per finding, macro and micro
- `monai`: the same inside MONAI's and Ignite's evaluators
"""
