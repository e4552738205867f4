#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The status page in a headless Chromium, with a gateway behind it: what it says, that it
# says so by itself through an outage, that nothing it is told becomes markup, and that it
# can be read: on a phone, in the dark, by keyboard, by a screen reader, without scripts.
#
# SHOTS=DIRECTORY keeps the screenshots.

# shellcheck source=../lib/common.sh
. "$(dirname "$0")/../lib/common.sh"

need mosquitto mosquitto_pub python3 chromium chromedriver "$TESTLIB/mockkafka" \
	"$TESTLIB/render_page" "$TOP_BUILDDIR/tidegated" "$TOP_BUILDDIR/tidegate-monitor"

SHOTS=${SHOTS:-$WORK/shots}
mkdir -p "$SHOTS"
PORT=$(free_port)
URL=http://127.0.0.1:$PORT/
ODD='"><script>document.title="ran"</script><img src=x onerror="document.title=1">&amp;'"'"
MONITOR_SETTINGS="listen = \"127.0.0.1:$PORT\";"
KAFKA_SETTINGS='properties = [ "reconnect.backoff.max.ms=500" ];'

browser() {
	python3 "$TOP_SRCDIR/tests/browser/browser.py" "$WORK/browser.state" "$@"
}

js() {
	browser js "$@"
}

test_cleanup() {
	local pid
	# It outlives a chromedriver that was ended.
	pid=$(browser pid 2>/dev/null) && [ "${pid:-0}" -gt 0 ] && end_pid "$pid" 5
}

start_browser() {
	local port try
	for try in 1 2 3; do
		port=$(free_port)
		TMPDIR=$WORK chromedriver --port="$port" >"$WORK/chromedriver.log" 2>&1 &
		DRIVER_PID=$!
		track "$DRIVER_PID"
		driver_settled() { is_gone "$DRIVER_PID" || port_open "$port"; }
		wait_for 20 driver_settled && ! is_gone "$DRIVER_PID" && break
		diag "chromedriver did not start, attempt $try"
	done
	mkdir "$WORK/profile"
	browser open "$port" "$(command -v chromium)" "$WORK/profile" >"$WORK/browser.log" 2>&1
}

# ---- what is on the page ----

# holds SCRIPT [ARGUMENT...]: does it return true? What else it returns is the reason.
holds() {
	browser until 0 "$@"
}

# holds_soon SCRIPT [ARGUMENT...]: within the time that the page needs to learn of it
holds_soon() {
	browser until 40 "$@"
}

# shows SELECTOR REGULAR-EXPRESSION: soon
shows() {
	holds_soon 'var text = document.querySelector(arguments[0]).innerText.replace(/\s+/g, " ");
		return new RegExp(arguments[1]).test(text) || text' "$1" "$2"
}

# says REGULAR-EXPRESSION: the first sentence, soon
says() {
	shows '#state .words' "$1"
}

publish() { # COUNT
	yes payload | head -n "$1" | mosquitto_pub -p "$BROKER_PORT" -q 1 -t t/x -l
}

# The document that was loaded is still there.
is_same_document() {
	holds 'return window.marker === 17'
}

# What the console said that is not about a gateway that was not there.
console() {
	browser log | grep -v ERR_CONNECTION_REFUSED
}

console_is_silent() {
	local said
	said=$(console)
	printf '%s\n' "$said"
	[ -z "$said" ]
}

# By WCAG 2.2, 1.4.3, of each piece of text in the colours that it has; true, or the bad.
CONTRAST='
	function rgba(text) {
		var n = text.match(/[0-9.]+/g).map(Number);
		return n.length < 4 ? n.concat(1) : n;
	}
	function over(a, b) {
		return [0, 1, 2].map(function (i) { return a[i] * a[3] + b[i] * (1 - a[3]); }).concat(1);
	}
	function ground(e) {
		var c = rgba(getComputedStyle(e).backgroundColor);
		return c[3] === 1 ? c : over(c, e.parentElement ? ground(e.parentElement) : [255, 255, 255, 1]);
	}
	function light(c) {
		var n = c.slice(0, 3).map(function (v) {
			v /= 255;
			return v <= 0.04045 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4);
		});
		return 0.2126 * n[0] + 0.7152 * n[1] + 0.0722 * n[2];
	}
	var walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	var bad = [], count = 0, node;
	while ((node = walker.nextNode())) {
		var e = node.parentElement, text = node.data.trim(), box = e.getBoundingClientRect();
		if (text === "" || e.closest("script, noscript") || box.width === 0)
			continue;
		var style = getComputedStyle(e), b = ground(e);
		var a = light(over(rgba(style.color), b)), g = light(b);
		var ratio = (Math.max(a, g) + 0.05) / (Math.min(a, g) + 0.05);
		if (e.closest("svg") === null && (ratio < 4.5 || style.opacity !== "1"))
			bad.push(ratio.toFixed(2) + " " + text.slice(0, 40));
		count++;
	}
	return bad.length === 0 && count > 40 ? true : count + " texts: " + bad.join("; ");'

has_contrast() {
	holds "$CONTRAST"
}

is_dark() {
	holds 'var n = getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g);
		return Math.max(n[0], n[1], n[2]) < 60 || "background " + n'
}

does_not_scroll_sideways() {
	holds 'var e = document.scrollingElement;
		return innerWidth === 360 && e.scrollWidth <= 360 || innerWidth + " " + e.scrollWidth'
}

# ---- keyboard and screen reader ----

tab_order() {
	local i
	js 'document.activeElement.blur(); return true' >"$WORK/focus"
	for i in 1 2 3 4 5; do
		browser press tab
		js 'var e = document.activeElement, s = getComputedStyle(e);
			return e.textContent + " " + s.outlineStyle + " " + s.outlineWidth'
	done >"$WORK/focus"
	cat "$WORK/focus"
	[ "$(cut -d ' ' -f 1 "$WORK/focus" | tr '\n' ' ')" = "status.json metrics events healthz readyz " ] &&
		[ "$(grep -c ' solid 3px$' "$WORK/focus")" -eq 5 ]
}

# in_tree LINE: a role, what it has, a name
in_tree() {
	grep -qxF -- "$1" "$WORK/tree" || { grep -v TextBox "$WORK/tree" && false; }
}

screen_reader() {
	local line
	browser tree >"$WORK/tree"
	check "screen reader: the state is a live region" grep -qE '^status \[polite\]' "$WORK/tree"
	while read -r line; do
		check "screen reader: $line" in_tree "$line"
	done <<-'EOT'
		banner
		main
		contentinfo
		navigation The same for programs
		heading [1] test-site
		heading [2] MQTT broker
		heading [2] Kafka
		region Journal
		table Routes
		table Workers
		columnheader Delivered
		rowheader default
		meter Full
	EOT
	check "screen reader: the curve in words" grep -qE \
		'^(image|img) Over the last minute: in [0-9,.]+/s, out [0-9,.]+/s\. Highest: ' "$WORK/tree"
	check "screen reader: how full the journal is" holds \
		'return document.querySelector("[role=meter]").getAttribute("aria-valuetext") === "0 %"'
	check "headings are in order" holds 'var last = 0;
		return Array.from(document.querySelectorAll("h1,h2,h3,h4")).every(function (e) {
			var level = Number(e.tagName[1]), good = level <= last + 1;
			last = level;
			return good;
		})'
	check "the page says its language" holds 'return document.documentElement.lang === "en"'
}

# ---- the gateway is well ----

start_mosquitto || bail "no mosquitto"
start_mock records:2 || bail "no embedded Kafka"
write_conf
start_gateway || bail "no gateway"
wait_for 20 port_open "$PORT" || bail "nobody listens on port $PORT"
wait_for 20 is_subscribed 't/#' || bail "it does not subscribe"
start_browser || bail "no browser: $(tail -n 3 "$WORK/browser.log")"
publish 50
check "the first messages are delivered" wait_for 20 journal_is_empty

browser scheme light
browser size 1200 900
browser go "$URL"
js 'window.marker = 17; return true' >"$WORK/browser.out"
check "it says well" says '^Well: '
check "it says that data is moving" says '^Well: data is moving$'
check "the title says it too" holds 'return document.title.indexOf("Well: data is moving") === 0'
check "the broker is connected" shows '#broker' 'Connected since [0-9:]+ UTC, for .*50 messages'
check "Kafka is reachable" shows '#kafka' 'Reachable .*50 records'
check "nothing waits" shows '#journal' '^ *0 records wait'
check "the curve is drawn" holds_soon 'return Array.from(
	document.querySelectorAll("#rates polyline")).filter(function (line) {
		return line.points.length > 0; }).length === 2'
check "its lines differ in form" holds 'return new Set(Array.from(
	document.querySelectorAll("#rates polyline"), function (line) {
		return getComputedStyle(line).strokeDasharray; })).size === 2'
check "the latest events are there" shows '#events' '[0-9:]{8} info .*connected to .* tidegate-ingest'
check "a policy forbids what the page does not need" grep -q "default-src 'none'" \
	<(browser header "$URL" Content-Security-Policy)
check "contrast in light colours" has_contrast
check "keyboard: each link in order, and the focus is seen" tab_order
screen_reader
browser shot "$SHOTS/well.png"

browser scheme dark
check "dark where that is preferred" is_dark
check "contrast in dark colours" has_contrast
browser shot "$SHOTS/well-dark.png"
browser size 360 740
check "360 pixels wide, nothing lies beyond" does_not_scroll_sideways
browser shot "$SHOTS/phone-dark.png"
browser scheme light
browser shot "$SHOTS/phone.png"
browser size 1200 900

# ---- an outage ----

js 'document.querySelector("footer a").focus(); return true' >"$WORK/browser.out"
mock_down
publish 300
check "Kafka goes away: the page says so by itself" says '^Waiting for Kafka$'
check "and why" shows '#state .why' '.'
check "no route is said to deliver" shows '#routes' '^default waits for Kafka 50 0 50 300'
check "Kafka is away, since when" shows '#kafka' 'Away since [0-9:]+ UTC'
check "the backlog grows" shows '#journal' '^ *300 records wait .*oldest waits for'
check "the title no longer says well" holds 'return document.title.indexOf("Waiting for Kafka") === 0'
check "the same document" is_same_document
check "the focus has stayed" holds 'return document.activeElement.textContent === "status.json"'
check "contrast in the outage" has_contrast
browser shot "$SHOTS/outage.png"
browser scheme dark
check "contrast in the outage, dark" has_contrast
browser shot "$SHOTS/outage-dark.png"
browser scheme light
mock_up
check "Kafka is back: the page says so by itself" says '^Well: data is moving$'
check "nothing waits any more" shows '#journal' '^ *0 records wait'
check "the same document still" is_same_document
check "the console is silent" console_is_silent

# ---- nobody answers ----

stop_gateway
check "the gateway is stopped: the page says that it is old" \
	says '^No word from the gateway since [0-9:]+ UTC; what you see is old$'
check "it does not say well anywhere" holds 'return !/\bwell\b/i.test(document.title +
	document.querySelector("#state").textContent)'
check "contrast when it is old" has_contrast
browser shot "$SHOTS/stale.png"
start_gateway || bail "no gateway again"
check "the gateway is back: the page says so by itself" says '^Well: '
check "nothing is marked old any more" holds \
	'return !document.documentElement.classList.contains("is-stale")'
check "the same document to the end" is_same_document
publish 5
check "data moves again" says '^Well: data is moving$'
check "through Kafka" shows '#kafka' 'Reachable .* 5 records'

# ---- text that would be more ----

"$TESTLIB/render_page" odd "$ODD" >"$WORK/odd.html" || bail "no page was made"
browser go "file://$WORK/odd.html"
check "whatever is in a name is text" holds 'var odd = arguments[0];
	return [document.querySelector("h1"), document.querySelector("#state li"),
		document.querySelector("#routes th"), document.querySelector("#events .text"),
		document.querySelector("#certificates th"), document.querySelector("#broker .long dd")
	].every(function (e) { return e.textContent.indexOf(odd) >= 0; })' "$ODD"
check "none of it became an element" holds 'return document.scripts.length === 1 &&
	document.images.length === 0'
check "nor did it run" holds 'return document.title.indexOf("<script>") > 0'
browser log >"$WORK/browser.out"

# ---- without scripts ----

browser scripts off
browser go "$URL"
check "no scripts: the essentials are there" shows body \
	'Well: .*MQTT broker .*Connected.*Journal .*records wait.*Kafka .*Reachable'
js 'document.body.id = "marker"; return true' >"$WORK/browser.out"
check "no scripts: it is loaded again by itself" holds_soon 'return document.body.id === ""'
browser scripts on
check "the console has stayed silent" console_is_silent
browser quit
tap_done
