'use strict';
(function () {
  var list = document.getElementById('said');
  var state = document.getElementById('state');
  var form = document.getElementById('write');
  if (!list || !form) return;
  var text = form.elements.text;
  function atEnd() { return window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 160; }
  function toEnd() { window.scrollTo(0, document.documentElement.scrollHeight); }
  function clocks() {
    var today = new Date().toDateString();
    document.querySelectorAll('time[datetime]').forEach(function (time) {
      var at = new Date(time.getAttribute('datetime'));
      if (isNaN(at)) return;
      var clock = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
      time.textContent = at.toDateString() === today ? clock : at.toLocaleDateString([], { day: 'numeric', month: 'short' }) + ' ' + clock;
    });
  }
  function say(words, away) { state.textContent = words; state.className = away ? 'state away' : 'state'; }
  function live() {
    var source = new EventSource('live');
    source.addEventListener('all', function (event) {
      var end = atEnd(), now = JSON.parse(event.data);
      list.innerHTML = now.html;
      say(now.state, now.away);
      clocks();
      if (end) toEnd();
    });
    source.addEventListener('said', function (event) {
      var end = atEnd(), empty = list.querySelector('.empty');
      if (empty) empty.remove();
      var waiting = list.querySelector('.pending,.failed'), html = JSON.parse(event.data).html;
      if (waiting) waiting.insertAdjacentHTML('beforebegin', html); else list.insertAdjacentHTML('beforeend', html);
      clocks();
      if (end) toEnd();
    });
    source.onerror = function () { say('Your home does not answer. This page tries again by itself.', true); };
  }
  form.addEventListener('submit', function (event) {
    event.preventDefault();
    if (!text.value.trim() || !form.elements.name.value.trim()) { form.reportValidity(); return; }
    var button = form.querySelector('.send'), note = document.getElementById('note');
    button.disabled = true;
    fetch(form.action, { method: 'POST', headers: { 'X-Page': '1' }, body: new URLSearchParams(new FormData(form)) }).then(function (answer) {
      return answer.text().then(function (words) {
        if (!answer.ok) throw words;
        text.value = '';
        note.className = 'note';
        toEnd();
      });
    }).catch(function (words) {
      note.textContent = typeof words === 'string' ? words : 'Your home does not answer. Your words are still here: try again.';
      note.className = 'note bad';
    }).then(function () { button.disabled = false; text.focus(); });
  });
  text.addEventListener('keydown', function (event) {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
  });
  clocks();
  toEnd();
  live();
})();
