/**
 * The page's script. It only shows, hides, orders and copies what is there already; without it the page is complete.
 * It builds no markup from text, so nothing in a log can become code.
 */
export const SCRIPT = `
'use strict';
(() => {
  const root = document.documentElement;
  root.classList.add('js');
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  const RANK = ['malicious', 'suspicious', 'unknown', 'unchecked', 'undetected'];
  const keyOf = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const [verdict, count] = text.split(/\\s/);
    const rank = RANK.indexOf(verdict);
    if (rank >= 0) return rank * 1e6 - (parseInt(count, 10) || 0);
    const number = /^[\\d,]+$/.test(text) ? Number(text.replaceAll(',', '')) : NaN;
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };

  for (const table of all('table[data-sortable]')) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.dataset.fixed !== undefined) return;
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const isAscending = head.getAttribute('aria-sort') !== 'ascending';
        for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
        head.setAttribute('aria-sort', isAscending ? 'ascending' : 'descending');
        const keyed = [...body.rows].map((row) => [keyOf(row, column), row]);
        keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (isAscending ? 1 : -1));
        body.append(...keyed.map(([, row]) => row));
      });
    });
  }

  const search = document.getElementById('search');
  if (search !== null) {
    const rows = all('#findings tbody tr');
    const boxes = all('.controls input[type=checkbox]');
    const shown = document.getElementById('shown');
    const texts = new Map();
    const textOf = (row) => {
      let text = texts.get(row);
      if (text === undefined) {
        const details = document.getElementById(row.id.replace('r', 'f'));
        const link = row.querySelector('a[href^="https:"]');
        text = [row.textContent, link === null ? '' : link.href, details === null ? '' : details.textContent].join(' ').toLowerCase();
        texts.set(row, text);
      }
      return text;
    };
    const verdictOf = (row) => row.querySelector('.pill').textContent.split(' ')[0];
    const filter = () => {
      const words = search.value.toLowerCase().split(/\\s+/).filter((word) => word !== '');
      const verdicts = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      let count = 0;
      for (const row of rows) {
        const isShown = (verdicts.size === 0 || verdicts.has(verdictOf(row))) && words.every((word) => textOf(row).includes(word));
        row.hidden = !isShown;
        const details = document.getElementById(row.id.replace('r', 'f'));
        if (details !== null) details.hidden = !isShown;
        if (isShown) count++;
      }
      shown.textContent = count + ' of ' + rows.length + ' shown';
    };
    search.addEventListener('input', filter);
    for (const box of boxes) box.addEventListener('change', filter);
    document.addEventListener('keydown', (event) => {
      if (event.key === '/' && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName) && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        search.focus();
      } else if (event.key === 'Escape' && document.activeElement === search) {
        search.value = '';
        filter();
      }
    });
    filter();
  }

  const copyText = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = document.createElement('textarea');
      field.value = text;
      document.body.append(field);
      field.select();
      document.execCommand('copy');
      field.remove();
    }
  };
  const addCopy = (text, place) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'copy';
    button.textContent = 'copy';
    button.addEventListener('click', async () => {
      await copyText(text);
      button.textContent = 'copied';
      setTimeout(() => { button.textContent = 'copy'; }, 1200);
    });
    place(button);
  };
  for (const hash of all('.hash')) addCopy(hash.textContent, (button) => hash.after(' ', button));
  for (const link of all('#findings a[href^="https:"]')) addCopy(link.href.split('/').pop(), (button) => link.before(button, ' '));

  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target === null) return;
    if (target.tagName === 'DETAILS') target.open = true;
    const focusable = target.querySelector('summary, a');
    if (focusable !== null) focusable.focus({ preventScroll: true });
  };
  addEventListener('hashchange', reveal);
  reveal();
  let closed = [];
  addEventListener('beforeprint', () => {
    closed = all('details:not([open])');
    for (const details of closed) details.open = true;
  });
  addEventListener('afterprint', () => {
    for (const details of closed) details.open = false;
  });
})();
`;
