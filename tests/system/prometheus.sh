#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The alert rules and the Grafana dashboard: their own tests; every figure that they name is
# one that the monitor writes; and a real Prometheus with both, looking at a gateway whose
# Kafka goes away.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need promtool prometheus jq python3 mosquitto "$TESTLIB/ledger_publish"

RULES=$TOP_SRCDIR/packaging/prometheus/tidegate.rules.yml
RULE_TESTS=$TOP_SRCDIR/packaging/prometheus/tidegate.rules.test.yml
DASHBOARD=$TOP_SRCDIR/packaging/grafana/tidegate.json

# ---- the rules ----

# Each has a test in which it fires, and one in which it does not.
each_alert_is_tested() {
	local alert rc=0
	while read -r alert; do
		awk -v alert="\"$alert\"" '
			/^ *- expr:/ { is_meant = index($0, alert); quiet += is_meant > 0 }
			/^ *exp_samples:/ && is_meant { quiet--; fires++ }
			END { exit !(quiet > 0 && fires > 0) }' "$RULE_TESTS" && continue
		echo "$alert"
		rc=1
	done < <(sed -n 's/^ *- alert: //p' "$RULES")
	return "$rc"
}

# What a rule has, by counting: severity, summary and description, as often as alerts.
each_alert_is_described() {
	local alerts part
	alerts=$(grep -c '^      - alert: ' "$RULES")
	for part in '          severity: \(critical\|warning\|info\)' '          summary: "' '          description: >-'; do
		[ "$(grep -c "^$part" "$RULES")" = "$alerts" ] || { echo "not all have $part"; return 1; }
	done
}

# A section that is named has to be there: tidegated(8), "What Kafka says"
named_sections_are_there() {
	python3 - "$RULES" "$TOP_SRCDIR/packaging/man" <<-'EOT'
		import re, sys
		text = re.sub(r'\s+', ' ', open(sys.argv[1]).read())
		named, missing = 0, []
		for page, part in re.findall(r'(tidegate[a-z-]*\([1-8]\)), ([^.:]*)', text):
		    source = open(sys.argv[2] + '/' + page.replace('(', '.').rstrip(')')).read()
		    sections = re.findall(r'^\.S[hs] (.*)$', source, re.M)
		    for name in re.findall(r'"([^"]+)"', part) + re.findall(r'\b[A-Z]{3,}(?: [A-Z]+)*\b', part):
		        named += 1
		        if name not in sections:
		            missing.append((page, name))
		print(named, missing)
		sys.exit(named < 10 or len(missing) > 0)
	EOT
}

# ---- the dashboard ----

# dashboard_exprs: one a line, with the variables as Grafana fills them in
dashboard_exprs() {
	# shellcheck disable=SC2016 # Grafana's
	jq -r '.panels[] | select(.targets) | .targets[].expr' "$DASHBOARD" |
		sed 's/\$__rate_interval/1m/g; s/=~"\$job"/=~"(tidegate)"/g; s/=~"\$instance"/=~".+"/g'
}

dashboard_is_whole() {
	# shellcheck disable=SC2016 # Grafana's
	jq -e '
		def real: .panels[] | select(.type != "row");
		(.schemaVersion >= 38) and (.id == null) and (.uid | length > 0) and
		([.panels[].id] | length == (unique | length)) and
		([real | .title] | all(length > 0)) and
		([real | .description] | all(length > 10)) and
		([real | .fieldConfig.defaults.unit] | all(length > 0)) and
		([real | .targets | length] | all(. > 0)) and
		([real | .datasource, .targets[].datasource | .uid] | all(. == "${datasource}")) and
		([.templating.list[].name] == ["datasource", "job", "instance"]) and
		([.panels[].gridPos | .x + .w] | all(. <= 24))' "$DASHBOARD"
}

# No two panels in one place.
dashboard_has_no_overlap() {
	jq -e '[.panels[] | .gridPos as $g | range($g.y; $g.y + $g.h) as $y |
		range($g.x; $g.x + $g.w) as $x | [$x, $y]] | length == (unique | length)' "$DASHBOARD"
}

# Nothing is left of them, and Prometheus can read what they make.
dashboard_exprs_are_right() {
	dashboard_exprs >"$WORK/exprs"
	[ -s "$WORK/exprs" ] && ! grep -F '$' "$WORK/exprs" || return 1
	{
		echo 'groups: [{name: dashboard, rules: ['
		jq -R '{record: "x:\(input_line_number)", expr: .}' "$WORK/exprs" | jq -s -c '.[]' | sed 's/$/,/'
		echo ']}]'
	} >"$WORK/exprs.yml"
	promtool check rules "$WORK/exprs.yml"
}

# ---- the figures ----

# named_figures: every tidegate_* in rules and dashboard
named_figures() {
	{
		sed 's/#.*//' "$RULES" | grep -v '^ *\(summary\|description\):'
		jq -r '.. | .expr? // .definition? // empty' "$DASHBOARD"
	} | grep -oE '\btidegate_[a-z_]+' | sort -u
}

# shown_figures: every name that the monitor shows now
shown_figures() {
	sed -n 's/^\(tidegate_[a-z_]*\)[{ ].*/\1/p' "$WORK/metrics" | sort -u
}

# get PORT PATH: without the head of the answer
get() {
	(
		exec 7<>"/dev/tcp/127.0.0.1/$1" || exit 1
		printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&7
		timeout 10 sed '1,/^\r*$/d' <&7
	) 2>/dev/null
}

get_metrics() {
	get "$MONITOR_PORT" /metrics >"$WORK/metrics"
}

# A figure that is not known is left out. These are so here: no certificates, a broker that
# says nothing of what it dropped, no dead letters, a journal that does not fill.
SOMETIMES='tidegate_(certificate_expiry_timestamp_seconds|broker_dropped_messages|dead_records|journal_full_in_seconds)'

each_figure_is_shown() {
	get_metrics && named_figures | grep -vxE "$SOMETIMES" >"$WORK/named" && [ -s "$WORK/named" ] &&
		! shown_figures | comm -13 - "$WORK/named" | grep .
}

each_other_figure_is_written() {
	local figure
	for figure in $(named_figures | grep -xE "$SOMETIMES"); do
		grep -qF "\"${figure#tidegate_}\"" "$TOP_SRCDIR"/src/monitor/metrics*.c || { echo "$figure"; return 1; }
	done
}

# ---- a real Prometheus ----

# Without waiting for hours. The limits stay as they are, and so do the texts.
start_prometheus() {
	local try
	mkdir -p "$WORK/prometheus"
	sed 's/^\( *for:\) .*/\1 1s/' "$RULES" >"$WORK/prometheus/tidegate.rules.yml"
	cat >"$WORK/prometheus/prometheus.yml" <<-EOT
		global: {scrape_interval: 1s, evaluation_interval: 1s}
		rule_files: [tidegate.rules.yml]
		scrape_configs:
		  - job_name: tidegate
		    static_configs: [{targets: ["127.0.0.1:$MONITOR_PORT"]}]
	EOT
	for try in 1 2 3 4 5; do
		PROMETHEUS_PORT=$(free_port)
		prometheus --config.file="$WORK/prometheus/prometheus.yml" \
			--storage.tsdb.path="$WORK/prometheus/data" --log.level=warn \
			--web.listen-address="127.0.0.1:$PROMETHEUS_PORT" >"$WORK/prometheus.log" 2>&1 &
		PROMETHEUS_PID=$!
		track "$PROMETHEUS_PID"
		prometheus_settled() { is_gone "$PROMETHEUS_PID" || get "$PROMETHEUS_PORT" /-/ready | grep -q Ready; }
		wait_for 30 prometheus_settled && ! is_gone "$PROMETHEUS_PID" && return 0
		end_pid "$PROMETHEUS_PID"
	done
	diag "prometheus did not start in $try attempts"
	return 1
}

# ask QUESTION: of Prometheus
ask() {
	get "$PROMETHEUS_PORT" "/api/v1/$1"
}

# has_value EXPRESSION: it has at least one
has_value() {
	ask "query?query=$(jq -rn --arg expr "$1" '$expr | @uri')" | jq -e '.data.result | length > 0'
}

# But for what is not there now. A rate has one from the second look on.
each_panel_has_a_value() {
	local expr
	while read -r expr; do
		wait_for 10 has_value "$expr" || { echo "$expr"; return 1; }
	done < <(dashboard_exprs | grep -vE "$SOMETIMES|^ALERTS")
}

# fires ALERT SUMMARY: with this text
fires() {
	ask alerts | jq -e --arg alert "$1" --arg summary "127.0.0.1:$MONITOR_PORT: $2" '
		[.data.alerts[] | select(.labels.alertname == $alert and .state == "firing")] |
		length == 1 and .[0].annotations.summary == $summary'
}

is_quiet() {
	ask alerts | jq -e '.data.alerts | length == 0'
}

rules_are_well() {
	ask rules | jq -e '[.data.groups[].rules[].health] | length > 0 and all(. == "ok")'
}

publish() {
	publish_start main -d 3 -n 100 -r 1000
	publish_wait 60
}

check "the rules are right" promtool check rules "$RULES"
check "their tests pass" promtool test rules "$RULE_TESTS"
check "each alert is tested, firing and quiet" each_alert_is_tested
check "each alert says how bad it is, what it is and what to do" each_alert_is_described
check "the sections that they name are in the manual" named_sections_are_there
check "the dashboard is whole" dashboard_is_whole
check "its panels do not overlap" dashboard_has_no_overlap
check "its expressions are right" dashboard_exprs_are_right
check "the figures that are seldom there are written" each_other_figure_is_written

MONITOR_PORT=$(free_port)
MONITOR_SETTINGS="listen = \"127.0.0.1:$MONITOR_PORT\";"
start_mosquitto || bail "mosquitto starts"
start_mock records:2 || bail "no embedded Kafka"
write_conf
start_gateway || bail "the gateway starts"
check "the gateway has subscribed" wait_for 20 is_subscribed 't/#'
check "messages are published" publish
check "and delivered" wait_for 30 journal_is_empty
check "all other figures are shown" wait_for 10 each_figure_is_shown
start_prometheus || bail "Prometheus starts"
ok "Prometheus starts"
check "each panel of the dashboard has a value" each_panel_has_a_value
check "the rules can be evaluated" wait_for 10 rules_are_well
check "no alert fires while all is well" wait_for 10 is_quiet
check "Kafka goes away" mock_down
check "messages are published" publish
check "Kafka's absence is told" wait_for 30 fires TidegateKafkaAway "Kafka is away for more than 12 hours"
check "and shown" has_value "$(dashboard_exprs | grep '^ALERTS')"
check "Kafka comes back" mock_up
check "no alert fires any more" wait_for 60 is_quiet
tap_done
