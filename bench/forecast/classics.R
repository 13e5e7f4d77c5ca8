# The classics of R's forecast package on tasks read as JSON Lines; one answer a line is appended to the output, and what
# is there already is not computed again. Intervals are the package's own: p90 is the upper end of its 80 % interval,
# p99 that of its 98 % interval.
#   Rscript bench/forecast/classics.R tasks.jsonl answers.jsonl [method ...]
suppressMessages({library(forecast); library(jsonlite)})
args <- commandArgs(trailingOnly = TRUE)
tasks <- file(args[1], "r")
done <- character(0)
if (file.exists(args[2])) {
  lines <- readLines(args[2])
  done <- sapply(lines, function(l) { a <- fromJSON(l); paste(a$task, a$method) }, USE.NAMES = FALSE)
}
out <- file(args[2], "a")
LIMIT_S <- 45
methods <- list(
  snaive = function(y, h) snaive(y, h, level = c(80, 98)),
  theta = function(y, h) thetaf(y, h, level = c(80, 98)),
  ets = function(y, h) forecast(ets(if (frequency(y) > 24) ts(as.numeric(y)) else y), h, level = c(80, 98)),
  stlf_ets = function(y, h) if (frequency(y) > 1) stlf(y, h, method = "ets", level = c(80, 98)) else NULL,
  stlf_arima = function(y, h) if (frequency(y) > 1) stlf(y, h, method = "arima", level = c(80, 98)) else NULL,
  mstl = function(y, h) {
    seasons <- if (frequency(y) == 24 && length(y) >= 2 * 168) c(24, 168) else frequency(y)
    if (frequency(y) > 1) forecast(mstl(msts(as.numeric(y), seasons)), method = "ets", h = h, level = c(80, 98)) else NULL
  },
  auto_arima = function(y, h) forecast(auto.arima(if (frequency(y) > 24) ts(as.numeric(y)) else y,
      approximation = TRUE, max.order = 6), h, level = c(80, 98))
)
if (length(args) > 2) methods <- methods[args[-(1:2)]]
while (length(line <- readLines(tasks, 1)) > 0) {
  task <- fromJSON(line)
  h <- length(task$truth)
  y <- as.numeric(task$context)
  season <- if (length(y) >= 2 * task$season + 1) task$season else 1
  for (name in names(methods)) {
    if (paste(task$task, name) %in% done) next
    started <- proc.time()[["elapsed"]]
    series <- ts(y, frequency = season)
    if (anyNA(series)) series <- na.interp(series)
    answer <- tryCatch({
      setTimeLimit(elapsed = LIMIT_S, transient = TRUE)
      f <- suppressWarnings(methods[[name]](series, h))
      if (is.null(f)) list(skipped = "no season in the context")
      else list(q = list("0.5" = as.numeric(f$mean), "0.9" = as.numeric(f$upper[, 1]), "0.99" = as.numeric(f$upper[, 2])))
    }, error = function(e) list(failed = conditionMessage(e)))
    setTimeLimit()
    answer$task <- task$task
    answer$method <- name
    answer$seconds <- round(proc.time()[["elapsed"]] - started, 3)
    writeLines(toJSON(answer, auto_unbox = TRUE, digits = 7, na = "null"), out)
    flush(out)
  }
}
