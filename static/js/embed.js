// Shows the password reset service in every <div data-restablecer> of a portal's page; see docs/embedding.md.
(() => {
  'use strict';
  const { tagName, src } = document.currentScript;
  if (tagName !== 'SCRIPT') return;
  const home = new URL('./', src);

  const show = (place) => {
    const url = new URL(home);
    const lang = (place.lang || document.documentElement.lang).slice(0, 2);
    if (lang) url.searchParams.set('lang', lang);
    if (place.dataset.email) url.searchParams.set('email', place.dataset.email);

    const frame = document.createElement('iframe');
    frame.title = place.textContent.trim() || 'Restablecer contraseña';
    frame.referrerPolicy = 'strict-origin';
    Object.assign(frame.style, { display: 'block', width: '100%', height: '900px', border: 0 });
    frame.src = url;
    const link = [...place.childNodes];
    place.replaceChildren(frame);

    let height = 0;
    // A frame that says nothing may have been refused: the link comes back.
    setTimeout(() => { if (!height) place.append(...link); }, 5000);
    addEventListener('message', ({ data, origin, source }) => {
      if (source !== frame.contentWindow || origin !== home.origin || !data) return;
      if (data.type === 'restablecer:altura' && Math.abs(data.h - height) > 1) {
        height = Math.min(data.h, 4000);
        frame.style.height = height + 'px';
        link.forEach((node) => node.remove());
      }
      if (data.type === 'restablecer:finalizado') {
        place.dispatchEvent(new Event('restablecer:finished', { bubbles: true }));
      }
    });

    // After a long form the answer may begin above the window.
    let loads = 0;
    frame.addEventListener('load', () => {
      if (loads++ && frame.getBoundingClientRect().top < 0) frame.scrollIntoView();
    });
  };

  const start = () => document.querySelectorAll('[data-restablecer]').forEach(show);
  if (document.readyState === 'loading') addEventListener('DOMContentLoaded', start);
  else start();
})();
