/** The page's style sheet. No font, image or other file is loaded. */
export const STYLE = `
:root{color-scheme:light dark;--bg:#faf9f7;--card:#fff;--ink:#1d2126;--dim:#59616b;--line:#dfdcd6;--soft:#f1efeb;--link:#1a56a8;
--malicious:#b3261e;--suspicious:#9a5b00;--unknown:#6246a8;--unchecked:#5f6670;--undetected:#45708f;
--malicious-soft:#fbe9e7;--suspicious-soft:#fdf0db;--unknown-soft:#efeafb;--unchecked-soft:#eceef0;--undetected-soft:#e6eff5;
--mono:ui-monospace,"Cascadia Mono",Consolas,"DejaVu Sans Mono",monospace}
@media (prefers-color-scheme:dark){:root{--bg:#15171b;--card:#1c1f24;--ink:#e6e8eb;--dim:#a2aab4;--line:#32373f;--soft:#24282e;--link:#8ab8f5;
--malicious:#ff9086;--suspicious:#f2b254;--unknown:#c3adff;--unchecked:#aab2bd;--undetected:#8fbfe0;
--malicious-soft:#43211f;--suspicious-soft:#3d2e14;--unknown-soft:#2f2748;--unchecked-soft:#2c3138;--undetected-soft:#1e3140}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;scroll-padding-top:1rem}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
header,main,footer{max-width:1180px;margin:0 auto;padding:0 24px}
header{padding-top:40px}
h1{font-size:clamp(1.5rem,1.1rem + 1.8vw,2.2rem);line-height:1.2;margin:.2em 0 .35em;letter-spacing:-.015em;font-weight:650;text-wrap:balance}
h2{font-size:1.2rem;margin:0 0 .8rem;letter-spacing:-.005em}
h3{font-size:1.05rem;margin:0;display:inline;font-weight:600}
section>h3{display:block;margin:1.4rem 0 .6rem}
h4{font-size:.95rem;margin:1.4rem 0 .5rem}
p{margin:.4em 0}
a{color:var(--link);text-underline-offset:.15em}
:focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:3px}
.skip{position:absolute;left:-999px}
.skip:focus{left:12px;top:12px;background:var(--card);padding:.4em .8em;z-index:9}
.eyebrow,.dim,small,figcaption{color:var(--dim)}
.eyebrow{font-size:.85rem;margin:0}
.lede{font-size:1.02rem;margin:0}
.note{max-width:78ch;font-size:.9rem;color:var(--dim)}
.warn{border-left:3px solid var(--suspicious);padding:.1em 0 .1em .8em}
nav{margin:1.2rem 0 0;padding:.7rem 0;border-top:1px solid var(--line);border-bottom:1px solid var(--line);display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;font-size:.92rem}
section{margin:36px 0 0}
code{font-family:var(--mono);font-size:.86em;unicode-bidi:isolate;white-space:pre-wrap;overflow-wrap:anywhere}
.esc{font-style:normal;color:var(--suspicious);border-bottom:1px dotted}
.first{margin:22px 0 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:12px;margin:28px 0 0;padding:0;list-style:none}
.tiles li{background:var(--card);border:1px solid var(--line);border-top:3px solid var(--c);border-radius:8px;padding:.7rem .9rem}
.tiles b{display:block;font-size:1.7rem;line-height:1.2;font-weight:650;font-variant-numeric:tabular-nums}
.tiles b.zero{color:var(--dim);font-weight:450}
.tiles span{font-weight:600;color:var(--c)}
.tiles small{display:block;font-size:.82rem;line-height:1.4}
.first h2{margin-bottom:.3rem}
.first ol{list-style:none;margin:0;padding:0}
.first ol>li{border-left:3px solid var(--c);padding:.15rem 0 .15rem .8rem;margin:.5rem 0}
.first ol a{font-weight:600}
.first ul{display:flex;flex-wrap:wrap;gap:0 1.2em;list-style:none;margin:0;padding:0;font-size:.92rem}
#rest{margin:.6rem 0 0}
.malicious{--c:var(--malicious);--s:var(--malicious-soft)}.suspicious{--c:var(--suspicious);--s:var(--suspicious-soft)}
.unknown{--c:var(--unknown);--s:var(--unknown-soft)}.unchecked{--c:var(--unchecked);--s:var(--unchecked-soft)}
.undetected{--c:var(--undetected);--s:var(--undetected-soft)}
.pill{display:inline-block;font-size:.8rem;font-weight:600;line-height:1.5;padding:0 .55em;border-radius:1em;color:var(--c);background:var(--s);white-space:nowrap;font-variant-numeric:tabular-nums}
.new{font-size:.72rem;font-weight:650;text-transform:uppercase;letter-spacing:.04em;color:var(--link);white-space:nowrap}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:16px}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem 1.1rem;min-width:0}
figure.wide{grid-column:1/-1}
figure h3{display:block;margin-bottom:.6rem}
figcaption{font-size:.85rem;margin-top:.5rem}
.row{display:grid;grid-template-columns:7.2em 1fr 5em;gap:.7em;align-items:center;font-size:.86rem;margin:.25rem 0}
.row>:last-child{text-align:right;font-variant-numeric:tabular-nums;color:var(--dim);font-size:.8rem}
.hosts .row{grid-template-columns:minmax(8em,14em) 1fr 3em}
svg{display:block;width:100%;height:30px;overflow:visible}
svg rect{fill:var(--c)}
svg .base{stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke}
.hosts svg{height:14px}
.bar svg{height:22px}
.axis{display:flex;justify-content:space-between;gap:1em;font-size:.78rem;color:var(--dim);font-variant-numeric:tabular-nums}
.row>.axis:nth-child(2){text-align:left}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;list-style:none;margin:.7rem 0 0;padding:0;font-size:.86rem}
.legend li::before{content:"";display:inline-block;width:.75em;height:.75em;border-radius:2px;background:var(--c);margin-right:.45em;vertical-align:-.05em}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.5rem .7rem;border-top:1px solid var(--line);vertical-align:top}
thead th{border-top:0;background:var(--soft);font-weight:600;font-size:.84rem;white-space:nowrap;vertical-align:bottom}
th button{all:unset;cursor:pointer}
th button:focus-visible{outline:2px solid var(--link);outline-offset:2px}
th button::after{content:" ↕";color:var(--dim);opacity:.65}
th[aria-sort=ascending] button::after{content:" ↑";opacity:1}
th[aria-sort=descending] button::after{content:" ↓";opacity:1}
tbody tr:hover{background:var(--soft)}
tr:target,details:target>summary{background:var(--unknown-soft)}
#findings :is(th,td):is(:nth-child(3),:nth-child(4)),td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
#findings td:nth-child(n+5),.t{white-space:nowrap;font-variant-numeric:tabular-nums}
td small{display:block;font-size:.8rem;line-height:1.45}
small code,td small code{font-size:.97em}
#findings td:nth-child(2){width:46%}
figure table,.card table{margin-top:.5rem}
.controls{display:none;flex-wrap:wrap;gap:.6rem 1.2rem;align-items:center;margin:0 0 .8rem}
.js .controls{display:flex}
.controls label{display:inline-flex;align-items:center;gap:.5em;white-space:nowrap;max-width:100%}
input[type=search]{flex:1 1 22rem;min-width:0;font:inherit;color:inherit;background:var(--card);border:1px solid var(--dim);border-radius:6px;padding:.35em .7em}
.find{flex:0 1 27rem}
output{color:var(--dim);font-size:.88rem}
.copy{font:inherit;font-size:.8rem;color:var(--link);background:none;border:1px solid var(--line);border-radius:5px;padding:0 .5em;cursor:pointer;white-space:nowrap}
details.card{background:var(--card);border:1px solid var(--line);border-left:3px solid var(--c);border-radius:8px;margin:12px 0}
.many details.card{content-visibility:auto;contain-intrinsic-size:auto 52px}
details.card>summary{padding:.75rem 1.1rem;cursor:pointer;border-radius:8px}
details.card>div{padding:0 1.1rem 1.1rem}
summary{cursor:pointer}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1.2rem;margin:.8rem 0;font-size:.92rem}
dt{color:var(--dim)}
dd{margin:0;min-width:0}
dd ul{margin:0;padding:0;list-style:none}
.tree,.tree ul{list-style:none;margin:0;padding:0}
.tree ul{padding-left:1.15rem;margin-left:.35rem;border-left:1px solid var(--line)}
.tree li{padding:.3rem 0 0}
.tree .self>div{background:var(--s);border-radius:6px;padding:.15rem .5rem;margin:0 -.5rem}
.tree div{min-width:0}
.tree b{font-weight:600}
.tree small{display:block;font-size:.82rem;line-height:1.45}
.steps{list-style:none;margin:.3rem 0;padding:0 0 0 1rem;border-left:2px solid var(--line)}
.steps li{position:relative;display:grid;grid-template-columns:5.2em 1fr;gap:.2rem .8rem;padding:.22rem 0;font-size:.92rem}
.steps li::before{content:"";position:absolute;left:calc(-1rem - 5px);top:.72em;width:8px;height:8px;border-radius:50%;background:var(--dim)}
.steps .network::before{background:var(--link)}.steps .file::before{background:var(--suspicious)}
.steps .process::before{background:var(--unknown)}.steps .threat::before{background:var(--malicious)}
.steps time{color:var(--dim);font-variant-numeric:tabular-nums}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:0 2rem}
.two>*{min-width:0}
.two p{margin:.6em 0 .3em}
footer{padding-top:36px;padding-bottom:48px;font-size:.88rem;color:var(--dim)}
@media (max-width:1020px),print{#findings td:is(:nth-child(5),:nth-child(6)){white-space:normal}#findings td:nth-child(2){min-width:15em}}
@media (max-width:760px){#findings td:nth-child(2){min-width:0}td:has(>.pill){width:1%}td .pill{white-space:normal;overflow-wrap:normal;border-radius:.5em}.w,#findings :is(th,td):nth-child(n+4){display:none}header,main,footer{padding-left:16px;padding-right:16px}header{padding-top:24px}
th,td{padding:.45rem .5rem}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}
.row{grid-template-columns:6.3em 1fr 3.6em;gap:.4em}.hosts .row{grid-template-columns:9em 1fr 2.2em}
.tiles{grid-template-columns:repeat(2,1fr)}.steps li{grid-template-columns:1fr}.tree ul{padding-left:.7rem}}
@media print{:root{color-scheme:light}.tiles{grid-template-columns:repeat(5,1fr);gap:6px}.tiles li{padding:.4rem .5rem}th,td{padding:.3rem .4rem}th button::after{content:none}body{background:#fff;font-size:10.5pt}nav,.js .controls,.skip,.copy{display:none}
.many details.card{content-visibility:visible}details.card{break-inside:avoid-page}section{margin-top:20px}tr,figure,.tiles li{break-inside:avoid}.scroll{overflow:visible;border:0}a{color:inherit}}
`;
