// The pages work without this file; it spares the visitor steps. One file for all of them: the form asks for few.
(() => {
  'use strict';
  const $ = (selector, root = document) => root.querySelector(selector);
  const say = (text) => { if ($('#status')) $('#status').textContent = text; };

  if ($('.summary')) $('.summary').focus();

  // A second press while the first is under way is ignored; after 20 s, or back from the next page, one may try again.
  for (const form of document.forms) {
    let since = 0;
    const rest = () => { since = 0; form.removeAttribute('aria-busy'); say(''); };
    form.addEventListener('submit', (event) => {
      if (since && Date.now() - since < 20000) { event.preventDefault(); return; }
      since = Date.now();
      form.setAttribute('aria-busy', 'true');
      say((event.submitter && event.submitter.dataset.busy) || '');
      setTimeout(rest, 20000);
    });
    addEventListener('pageshow', (event) => { if (event.persisted) rest(); });
  }

  // Refrescar: new letters without leaving the page. Whatever goes wrong, the button submits as it does without this file.
  const refresh = $('button[name=refresh]');
  if (refresh) {
    const form = refresh.form;
    const renew = async () => {
      const signal = AbortSignal.timeout ? AbortSignal.timeout(8000) : undefined;
      const fields = new URLSearchParams(new FormData(form));
      fields.set(refresh.name, refresh.value); // the letters before are void from then on
      const response = await fetch(form.action, { method: 'POST', body: fields, signal });
      if (!response.ok) throw new Error(response.status);
      const page = new DOMParser().parseFromString(await response.text(), 'text/html');
      const hidden = [...form.querySelectorAll('input[type=hidden]')].map((old) => [old, document.importNode($(`input[name="${old.name}"]`, page))]);
      const sound = $('#captcha-sound', page).href;
      const picture = document.importNode($('#captcha-picture', page));
      await picture.decode();
      $('#captcha-picture').replaceWith(picture);
      for (const [old, fresh] of hidden) old.replaceWith(fresh);
      $('#captcha').value = '';
      form.dispatchEvent(new CustomEvent('fresh', { detail: sound }));
      $('#captcha').focus();
      say(form.dataset.fresh);
    };
    refresh.type = 'button'; // Enter goes on pressing Enviar Solicitud
    $('.tools').before(refresh); // the Tab key meets it where the eye does, and nothing moves
    refresh.addEventListener('click', async () => {
      if (refresh.type === 'submit' || refresh.ariaBusy === 'true') return;
      refresh.ariaBusy = 'true';
      say('');
      try {
        await renew();
      } catch {
        refresh.type = 'submit';
        refresh.click();
      }
      refresh.ariaBusy = 'false';
    });
  }

  // The letters spoken: fetched when asked for, with pauses to write, again from the start after the end.
  const link = $('#captcha-sound');
  if (link) {
    const words = link.dataset;
    const label = $('span', link);
    const idle = label.textContent;
    const audio = new Audio();
    const button = document.createElement('button');
    button.type = 'button';
    button.append($('svg', link), label);
    link.replaceWith(button);
    button.after(audio);
    const tell = () => {
      const begun = audio.currentTime && !audio.ended;
      label.textContent = !audio.paused ? words.pause : begun ? words.resume : idle;
    };
    for (const change of ['play', 'pause', 'ended', 'emptied']) audio.addEventListener(change, tell);
    const forget = () => { audio.pause(); audio.removeAttribute('src'); audio.load(); };
    button.addEventListener('click', async () => {
      if (!audio.paused) { audio.pause(); return; }
      say('');
      if (!audio.hasAttribute('src')) audio.src = link.href;
      try {
        await audio.play();
      } catch (error) {
        if (error.code === DOMException.ABORT_ERR) return; // paused before it began
        forget();
        say(words.failed);
      }
    });
    button.form.addEventListener('fresh', (event) => { link.href = event.detail; forget(); });
  }

  // The third way: whom letters do not serve, the browser works for. Where it cannot, the help desk stays.
  const unread = $('.unread');
  if (unread) {
    const words = unread.dataset;
    const form = unread.closest('form');
    const press = $('button', unread);
    const bar = $('progress', unread);
    const tell = (text) => { $('#work-status').textContent = text; };
    let worker;

    const show = (working, ready) => {
      if (worker && !working) { worker.terminate(); worker = null; }
      press.setAttribute('aria-disabled', working);
      bar.hidden = !working;
      unread.hidden = ready;
      $('.field-captcha').hidden = ready;
      $('#captcha').required = !ready;
      form.classList.toggle('ready', ready);
      tell(ready ? words.ready : working ? words.working : '');
    };
    const fail = () => {
      show(false, false);
      $('.work', unread).hidden = true;
      $('.desk', unread).hidden = false;
      tell(words.failed);
    };
    const finish = (number) => {
      const waiting = unread.contains(document.activeElement);
      form.elements.proof.value = number;
      $('#captcha').value = '';
      show(false, true);
      // Who went on to write meanwhile is left alone.
      if (waiting) ($('#email').validity.valid ? $('.main', form) : $('#email')).focus();
    };
    $('.work', unread).hidden = false;
    $('.desk', unread).hidden = true;
    if (form.elements.proof.value) show(false, true);

    press.addEventListener('click', () => {
      if (worker) return;
      bar.value = 0;
      show(true, false);
      try {
        worker = new Worker(words.worker);
      } catch {
        fail();
        return;
      }
      worker.onerror = fail;
      worker.onmessage = ({ data }) => {
        if ('done' in data) bar.value = data.done;
        else if (data.number === null) fail();
        else finish(data.number);
      };
      worker.postMessage(form.elements.challenge.dataset.work);
    });
    form.addEventListener('fresh', () => { unread.open = false; show(false, false); });
  }

  // The token leaves the address bar, for who looks over the shoulder and for the history.
  const token = $('input[name=token]');
  if (token) history.replaceState(null, '', token.form.action);

  // New password: rules tick while typing, what was typed can be shown.
  const confirm = $('#confirm');
  if (confirm) {
    const password = $('#password');
    const form = password.form;
    const words = form.dataset;

    const meets = {
      length: (text, rule) => [...text].length >= Number(rule.dataset.min),
      upper: (text) => /\p{Lu}/u.test(text),
      lower: (text) => /\p{Ll}/u.test(text),
      digit: (text) => /\p{Nd}/u.test(text),
    };
    const rules = [...document.querySelectorAll('[data-rule]')].filter((rule) => rule.dataset.rule in meets);
    let later;
    const tick = () => {
      let met = 0;
      for (const rule of rules) {
        const good = meets[rule.dataset.rule](password.value, rule);
        met += good;
        rule.className = good ? 'met' : 'open';
        $('span', rule).textContent = good ? words.met : words.open;
      }
      clearTimeout(later);
      if (!password.value) return;
      later = setTimeout(() => {
        if (!confirm.value) say(words.count.replace('{}', met).replace('{}', rules.length));
        else say(confirm.value === password.value ? words.equal : words.unequal);
      }, 800);
    };
    password.addEventListener('input', tick);
    confirm.addEventListener('input', tick);
    tick();

    for (const field of [password, confirm]) {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'quiet';
      button.setAttribute('aria-describedby', field.labels[0].id);
      const show = (shown) => {
        field.type = shown ? 'text' : 'password';
        button.textContent = shown ? words.hide : words.show;
        button.setAttribute('aria-pressed', shown);
      };
      show(false);
      button.addEventListener('click', () => show(field.type === 'password'));
      form.addEventListener('submit', () => show(false)); // else browsers remember it as ordinary text
      field.after(button);
    }
  }

  // A sandboxed frame may be unable to send the form: without an origin of its own it would be refused,
  // without leave for forms nothing would happen at all. Then a window of its own is offered.
  const apart = $('#apart');
  if (apart) {
    const form = $('form.request');
    if (window.origin === 'null') {
      form.remove();
      apart.hidden = false;
    } else {
      const offer = () => { apart.hidden = false; $('a', apart).focus(); };
      let answered;
      for (const event of ['submit', 'invalid']) form.addEventListener(event, () => { answered = true; }, true);
      $('.main', form).addEventListener('click', (event) => {
        answered = false;
        setTimeout(() => { if (!answered && !event.defaultPrevented) offer(); });
      });
      // Safari submits, and then nothing happens.
      if (window.parent !== window) form.addEventListener('submit', () => setTimeout(offer, 20000));
    }
  }

  // After an answer with errors, reload and back would send the form again: this entry of the history is
  // an ordinary page from now on, and keeps the address typed, which no URL should hold.
  const email = $('#email');
  if (email && window.origin !== 'null') {
    if (!email.value) email.value = history.state || '';
    history.replaceState(email.value, '', location.href);
  }

  // A portal that frames the page learns its height and that the request arrived, never more.
  if (window.parent !== window && window.ResizeObserver) {
    const root = document.documentElement;
    const tell = (message) => window.parent.postMessage(message, '*');
    const measure = () => tell({ type: 'restablecer:altura', h: Math.ceil(root.getBoundingClientRect().height) });
    measure(); // an observer sleeps while the frame is out of view
    new ResizeObserver(measure).observe(root);
    if ($('[data-finished]')) {
      tell({ type: 'restablecer:finalizado' });
      $('h1').scrollIntoView({ block: 'nearest' }); // from below a long form, where the browser lets a frame do so
    }
  }
})();
