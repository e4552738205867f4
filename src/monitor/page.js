/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the page up to date: fetches the document again and takes over what is
 * different in the elements that have data-live. Where nobody answers it says so, and
 * takes back that all was well.
 */
(function () {
	'use strict';

	var EVERY_MS = 5000;
	var LONGEST_MS = 30000;
	var PATIENCE_MS = 4000;
	var OLD_MS = 20000; /* without an answer, in front of somebody's eyes */

	var failures = 0; /* one after the other */
	var answered_at = Date.now();
	var is_looking = false;
	var is_stale = false;
	var timer = 0;

	function take_attributes(old, fresh) {
		var i, name;

		for (i = 0; i < fresh.attributes.length; i++) {
			name = fresh.attributes[i].name;
			if (old.getAttribute(name) !== fresh.attributes[i].value)
				old.setAttribute(name, fresh.attributes[i].value);
		}
		for (i = old.attributes.length - 1; i >= 0; i--) {
			name = old.attributes[i].name;
			if (!fresh.hasAttribute(name))
				old.removeAttribute(name);
		}
	}

	function has_same_shape(a, b) {
		var i;

		if (a.length !== b.length)
			return false;
		for (i = 0; i < a.length; i++) {
			if (a[i].nodeName !== b[i].nodeName)
				return false;
		}
		return true;
	}

	/* Touches nothing that is as it was: focus and selection stay, and a screen
	   reader is told of what has changed alone. */
	function take(old, fresh) {
		var i;

		if (old.isEqualNode(fresh))
			return;
		if (old.nodeType !== Node.ELEMENT_NODE) {
			old.nodeValue = fresh.nodeValue;
			return;
		}
		take_attributes(old, fresh);
		if (has_same_shape(old.childNodes, fresh.childNodes)) {
			for (i = 0; i < fresh.childNodes.length; i++)
				take(old.childNodes[i], fresh.childNodes[i]);
			return;
		}
		while (old.firstChild)
			old.removeChild(old.firstChild);
		for (i = 0; i < fresh.childNodes.length; i++)
			old.appendChild(document.importNode(fresh.childNodes[i], true));
	}

	function show(fresh) {
		var list = fresh.querySelectorAll('[data-live]');
		var version = document.documentElement.getAttribute('data-version');
		var i, old;

		/* Another program, another page. */
		if (fresh.documentElement.getAttribute('data-version') !== version) {
			location.reload();
			return;
		}
		for (i = 0; i < list.length; i++) {
			old = document.getElementById(list[i].id);
			if (old)
				take(old, list[i]);
		}
		document.documentElement.classList.remove('is-stale');
		is_stale = false;
	}

	function paragraph(name, text) {
		var p = document.createElement('p');

		p.className = name;
		p.textContent = text;
		return p;
	}

	function say_no_word() {
		var state = document.getElementById('state');
		var made = document.querySelector('#made time');
		var since = made ? made.textContent : 'it was loaded';

		if (is_stale)
			return;
		is_stale = true;
		while (state.firstChild)
			state.removeChild(state.firstChild);
		state.className = 'verdict stale';
		state.appendChild(paragraph('words', 'No word from the gateway since ' +
			since + '; what you see is old'));
		state.appendChild(paragraph('why', 'It does not answer, or cannot be ' +
			'reached from here. This page goes on asking.'));
		document.title = 'No word from the gateway \u2013 ' +
			document.querySelector('h1').textContent + ' \u2013 Tidegate';
		document.documentElement.classList.add('is-stale');
	}

	function plan() {
		var delay_ms = EVERY_MS;
		var i;

		for (i = 1; i < failures && delay_ms < LONGEST_MS; i++)
			delay_ms *= 2;
		clearTimeout(timer);
		timer = setTimeout(look, Math.min(delay_ms, LONGEST_MS));
	}

	function take_answer(text) {
		/* Its style has a nonce that is not this page's, so that the policy would
		   forbid it: the browser would say so each time. */
		var fresh = new DOMParser().parseFromString(
			text.replace(/<style[^]*?<\/style>/, ''), 'text/html');

		if (!fresh.getElementById('state'))
			throw new Error('This is not the status page.');
		answered_at = Date.now();
		failures = 0;
		show(fresh);
	}

	function look() {
		if (is_looking)
			return;
		is_looking = true;
		clearTimeout(timer);
		if (!document.hidden && Date.now() - answered_at > OLD_MS)
			say_no_word();
		fetch('./', {cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS)})
			.then(function (answer) {
				if (!answer.ok)
					throw new Error('It answers ' + answer.status + '.');
				return answer.text();
			})
			.then(take_answer)
			.catch(function () {
				say_no_word();
				failures++;
			})
			.then(function () {
				is_looking = false;
				plan();
			});
	}

	document.addEventListener('visibilitychange', function () {
		if (!document.hidden)
			look();
	});
	window.addEventListener('pageshow', function (event) {
		if (event.persisted)
			look();
	});
	window.addEventListener('online', look);
	plan();
})();
